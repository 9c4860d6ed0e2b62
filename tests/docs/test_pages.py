"""The tutorial and the how-to pages can be followed to the letter, against a real server."""

from __future__ import annotations

import pytest

from tests.docs.pages import Reader, alike, commands, missing
from tests.house.repository import ROOT

FOLLOWED = (
    ("tutorial/first-loop.md",),
    ("how-to/write-a-policy.md", "how-to/release-a-version.md"),
    ("how-to/serve-onnx.md", "how-to/use-your-clients.md", "how-to/read-the-log.md", "how-to/retrain.md"),
    ("how-to/get-notified.md",),
    ("how-to/watch-for-drift.md",),
    ("how-to/judge-before-labels.md",),
    ("how-to/find-the-slice.md",),
    ("how-to/watch-latency-and-errors.md",),
    ("how-to/change-the-loss.md",),
    ("how-to/record-from-your-service.md",),
    ("how-to/run-it.md",),
    ("how-to/bring-your-history.md",),
    ("how-to/predict-a-file.md",),
    ("how-to/one-feature-code.md",),
    ("how-to/recompute-a-loss.md", "how-to/see-metrics.md"),
    ("how-to/keep-seal-erase.md",),
    ("how-to/choose-thresholds.md",),
    ("how-to/check-a-version.md",),
    ("how-to/tokens-and-roles.md",),
    ("how-to/how-often-to-retrain.md",),
)


@pytest.mark.slow
@pytest.mark.parametrize("pages", FOLLOWED, ids=lambda pages: pages[0])
def test_a_page_can_be_followed_to_the_letter(pages: tuple[str, ...], reader: Reader) -> None:
    for page in pages:
        reader.follow(ROOT / "docs" / page)


def test_a_console_block_is_commands_and_what_they_show() -> None:
    text = "$ one \\\n  more\nshown\n...\n$ two\n"
    assert list(commands(text)) == [("one   more", ["shown"]), ("two", [])]


def test_numbers_and_widths_do_not_matter_and_words_do() -> None:
    assert alike("1  2026-11-21  promote    -0.117 [+2, 3.5]") == alike("2 2013-03-01 promote 13 [+1, -7]")
    assert missing(["healthy  1"], "a\nhealthy 27") == []
    assert missing(["healthy"], "alarm") == ["healthy"]
