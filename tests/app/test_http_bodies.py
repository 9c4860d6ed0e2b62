"""Bodies that are slow, cut off, too many, or no JSON, without a server around."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from lossloop.app.http import bodies as reading
from lossloop.app.http.bodies import Bodies, decoded, unpacked
from lossloop.app.http.problems import Malformed, TimedOut, Unsupported, status_of
from lossloop.core.errors import LossloopError, Overloaded, TooLarge

Message = Mapping[str, Any]
ANY = msgspec.json.Decoder(Any)


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def sender(*messages: Message) -> Callable[[], Awaitable[Message]]:
    """Says these; then nothing any more."""
    left: Iterator[Message] = iter(messages)

    async def receive() -> Message:
        for message in left:
            return message
        await asyncio.sleep(3600)
        raise AssertionError

    return receive


def read(*messages: Message, bodies: Bodies | None = None, within: float = 60.0) -> bytes:
    return asyncio.run((bodies or Bodies()).read(sender(*messages), within=within))


def test_a_body_is_its_parts() -> None:
    assert read(part(b"abc", more=False)) == b"abc"
    assert read(part(b"abc"), part(b""), part(b"def", more=False)) == b"abcdef"
    assert read({"type": "http.request"}) == b""


@pytest.mark.parametrize("sent", [(), (part(b"abc"),), (part(b"abc"), part(b"def"))])
def test_a_body_that_does_not_come_in_time_is_refused(sent: tuple[Message, ...]) -> None:
    with pytest.raises(TimedOut, match=r"the body did not come within 0\.01 s; send it again") as caught:
        read(*sent, within=0.01)
    assert status_of(caught.value) == 408


@pytest.mark.parametrize("sent", [(), (part(b"abc"),)])
def test_a_body_that_is_cut_off_is_refused(sent: tuple[Message, ...]) -> None:
    with pytest.raises(Malformed, match="the body was cut off"):
        read(*sent, {"type": "http.disconnect"})


def test_a_body_that_is_too_large_is_read_on_for_a_while_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    monkeypatch.setattr(reading, "MOST_DROPPED", 50)
    assert read(part(b"x" * 10, more=False)) == b"x" * 10
    for sent in (
        [part(b"x" * 11, more=False)],
        [part(b"x" * 6), part(b"x" * 6, more=False)],
        [part(b"x" * 9)] * 99,
    ):
        with pytest.raises(TooLarge, match="the body has more than 10 bytes"):
            read(*sent)


def test_bodies_that_come_in_at_once_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_HELD", 100)
    bodies = Bodies()

    async def work() -> None:
        slow = asyncio.create_task(bodies.read(sender(part(b"x" * 90)), within=60))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="too many bodies come in at once") as caught:
            await bodies.read(sender(part(b"x" * 8), part(b"x" * 8, more=False)))
        assert status_of(caught.value) == 429
        assert await bodies.read(sender(part(b"x"), part(b"x", more=False))) == b"xx"
        assert await bodies.read(sender(part(b"x" * 500, more=False))) == b"x" * 500, "it is here already"
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        assert len(await bodies.read(sender(part(b"x" * 50), part(b"x" * 50, more=False)))) == 100

    asyncio.run(work())


@pytest.mark.parametrize("encoding", [b"", b"identity", b" IDENTITY "])
def test_what_is_not_packed_stays(encoding: bytes) -> None:
    assert unpacked(b"abc", encoding) == b"abc"


def test_an_encoding_that_nobody_knows_is_said_so() -> None:
    with pytest.raises(Unsupported) as caught:
        unpacked(b"abc", b"compress")
    assert status_of(caught.value) == 415


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"", {}),
        (b"[NaN, -Infinity, 1e400]", "[nan, -inf, inf]"),
        (b'["1e400", 5e324]', "['1e400', inf]"),
        (b"[123456789012345678901234567890, 0.1]", [123456789012345678901234567890, 0.1]),
        (b'"id-with-e1234-in-it"', "id-with-e1234-in-it"),
    ],
)
def test_numbers_beyond_any_float_are_numbers(raw: bytes, value: Any) -> None:
    found = decoded(ANY, raw)
    assert found == value or str(found) == value


@pytest.mark.parametrize("raw", [b"{", b"[NaN", b"\xff", b"NaN\xff", b'["\\ud800", NaN]', b"nan", b"[1e400"])
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="the body is not JSON"):
        decoded(ANY, raw)


def test_every_error_has_a_status_of_its_own_kind() -> None:
    statuses = {
        each: int(status_of(each("x"))) for each in (Malformed, TimedOut, Unsupported, Overloaded, TooLarge)
    }
    assert list(statuses.values()) == [400, 408, 415, 429, 413]
    assert status_of(LossloopError("x")) == 422
