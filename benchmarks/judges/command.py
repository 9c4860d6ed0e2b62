"""The command line that the scripts of this folder share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping


def parser_of(
    words: str | None, *, replications: int | None = None, seeded: bool = True
) -> argparse.ArgumentParser:
    """A parser that prints the script's own words for help, with what every script takes.

    Args:
        words: The script's docstring.
        replications: The default of `--replications`; None for none.
        seeded: Whether there is a `--seed`.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    if replications is not None:
        parser.add_argument("--replications", type=int, default=replications)
    if seeded:
        parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser


def print_figures(
    bench: str,
    words: str | None,
    measure: Callable[[int, int], Mapping[str, float]],
    arguments: list[str] | None,
    *,
    replications: int,
) -> None:
    """The whole of a script that measures named figures from so many replications and a seed."""
    args = parser_of(words, replications=replications).parse_args(arguments)
    figures = dict(measure(args.replications, args.seed))
    if args.json:
        print(json.dumps({"bench": bench, "figures": figures}))
        return
    for name, value in figures.items():
        print(f"{name:50} {value:10.4g}")
