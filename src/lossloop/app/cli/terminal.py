"""The terminal as people see it: what others have sent is shown, and gives it no orders."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment


class Screen(Console):
    """A console that shows control characters in names, ids and reasons as escapes.

    An id may hold the sequence that clears a screen, or one that writes over what stood there.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:  # fmt: skip
        """See `Console`; colours are added behind this, so that only text from elsewhere is concerned."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(printable(segment.text), segment.style)
            else:
                yield segment


def printable(text: str) -> str:
    """A text with an escape for each character that is none to be seen; lines stay."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )
