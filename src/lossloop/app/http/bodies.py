"""Bodies: read within a bound of bytes and time, unpacked within the same bound, and decoded."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from lossloop.app.http.problems import Malformed, TimedOut, Unsupported
from lossloop.core.errors import Overloaded, TooLarge

MOST_BYTES = 16 * 1024 * 1024
"""Of one body, as it is sent and once it is unpacked."""
MOST_DROPPED = 8 * MOST_BYTES
MOST_HELD = 16 * MOST_BYTES
"""Bytes of all bodies that are still coming in."""
WITHIN = 30.0
"""Seconds in which a body must have come."""
ENCODINGS: Mapping[bytes, str] = {b"gzip": "gzip", b"x-gzip": "gzip", b"zstd": "zstd"}
_BEYOND_FLOATS = re.compile(rb"[eE]\+?\d{3}|NaN|Infinity")
"""Where this is found, what is not read as JSON may be a number that no float holds, or that JSON has not."""

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Bodies:
    """Reads bodies; those that come in at the same time keep within a bound together."""

    def __init__(self) -> None:
        self._held = 0

    async def read(self, receive: Receive, *, length: int = -1, within: float = WITHIN) -> bytes:
        """A body as it is sent.

        Args:
            receive: Gives its parts.
            length: How long its sender says that it is, -1 if it does not: then that is all of it, and nobody
                need ask for more.
            within: Seconds in which it must have come.

        Raises:
            TooLarge: It has more than MOST_BYTES.
            TimedOut: It did not come in time.
            Overloaded: Too much comes in at once.
            Malformed: Its sender went away.
        """
        try:
            async with asyncio.timeout(within):
                message = await receive()
                body = _part(message)
                if len(body) <= MOST_BYTES and (len(body) == length or not message.get("more_body")):
                    return body
                return await self._gather(message, receive)
        except TimeoutError:
            raise TimedOut(f"the body did not come within {within:g} s; send it again") from None

    async def _gather(self, message: Message, receive: Receive) -> bytes:
        """What is longer than it may be is read on for a while, and dropped.

        Who is still sending does not hear an answer.
        """
        parts: list[bytes] = []
        size = kept = 0
        try:
            while True:
                part = _part(message)
                size += len(part)
                if size > MOST_BYTES:
                    parts.clear()
                elif self._held + len(part) > MOST_HELD:
                    raise Overloaded("too many bodies come in at once; send this again in a second")
                else:
                    parts.append(part)
                    kept += len(part)
                    self._held += len(part)
                if size > MOST_DROPPED or not message.get("more_body"):
                    break
                message = await receive()
        finally:
            self._held -= kept
        if size > MOST_BYTES:
            raise _too_large()
        return b"".join(parts)


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Malformed("the body was cut off; send it again")
    return bytes(message.get("body", b""))


def _too_large() -> TooLarge:
    return TooLarge(f"the body has more than {MOST_BYTES} bytes: send smaller batches")


def unpacked(raw: bytes, encoding: bytes) -> bytes:
    """A body without its Content-Encoding.

    Raises:
        Unsupported: The encoding is none of ENCODINGS.
        TooLarge: It would be longer than a body may be; no more than that is unpacked.
        Malformed: It is not in this encoding.
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return raw
    if name == b"deflate":
        return _inflated(raw)
    if name not in ENCODINGS:
        known = "gzip, deflate or zstd"
        raise Unsupported(f"the Content-Encoding {name.decode('latin-1')!r} is not taken; use {known}")
    try:
        with pa.CompressedInputStream(pa.BufferReader(raw), ENCODINGS[name]) as stream:
            data: bytes = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise Malformed(f"the body is not {ENCODINGS[name]}: {error}") from None
    if len(data) > MOST_BYTES:
        raise _too_large()
    return data


def _inflated(raw: bytes) -> bytes:
    """What deflate packed, in the zlib format (RFC 1950) as HTTP has it, or bare as some clients send it."""
    bare = raw[:1] == b"" or raw[0] & 0x0F != zlib.DEFLATED or int.from_bytes(raw[:2], "big") % 31 != 0
    try:
        stream = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
        data = stream.decompress(raw, MOST_BYTES + 1)
    except zlib.error as error:
        raise Malformed(f"the body is not deflate: {error}") from None
    if len(data) > MOST_BYTES:
        raise _too_large()
    if not stream.eof:
        raise Malformed("the body is not deflate: it ends too early")
    return data


def decoded(reader: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """A JSON body as what the reader makes of it; raise Malformed where that is nothing."""
    try:
        try:
            return reader.decode(raw or b"{}")
        except msgspec.DecodeError:
            if not _BEYOND_FLOATS.search(raw):
                raise
            return msgspec.convert(_with_any_number(raw), reader.type)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        field = path.strip("`$.")
        raise Malformed(f"the body cannot be taken: {message}", field=field or None) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _with_any_number(raw: bytes) -> Any:
    """JSON with NaN, Infinity and numbers beyond any float: they spoil their row, not the others."""
    read = json.loads(raw.decode())
    json.dumps(read, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return read
