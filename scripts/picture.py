"""Draw docs/images/demo.svg: the screen with which a demo ends, from what `lossloop demo --json` printed.

    lossloop demo --json > demo.json
    python scripts/picture.py demo.json

The picture is text: nothing is drawn in it that the terminal did not show, and it fetches no font.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from lossloop.app.cli.tables import comparison_table, decisions_table

PLACE = Path(__file__).parents[1] / "docs" / "images" / "demo.svg"
WIDTH = 110

THEME = TerminalTheme(
    (21, 26, 33),
    (232, 236, 242),
    [(54, 64, 77), (242, 107, 98), (65, 182, 148), (226, 163, 73), (95, 155, 242), (208, 122, 199),
     (111, 190, 205), (177, 186, 199)],
)  # fmt: skip

# As rich's own, without the font that it would fetch.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" \
role="img" aria-label="The end of lossloop demo on a terminal: every decision, and the comparison by month">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">\
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def picture(text: str) -> str:
    """The picture of what a demo printed as JSON, as SVG."""
    told = json.loads(text)
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print("[bold]$ lossloop demo[/]", highlight=False)
    console.print(decisions_table(told["decisions"]))
    console.print(comparison_table(told["comparison"]))
    return console.export_svg(title="lossloop demo", theme=THEME, code_format=FORMAT)


def main() -> None:
    """Draw the picture of the file that is named."""
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/picture.py DEMO.json, the output of: lossloop demo --json")
    drawn = picture(Path(sys.argv[1]).read_text(encoding="utf-8"))
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    PLACE.write_text(drawn, encoding="utf-8")
    print(f"{PLACE}: {len(drawn):,} characters")


if __name__ == "__main__":
    main()
