"""`lossloop convert`: ONNX made of a model, or a smaller model, held against the model on held-out rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from cyclopts import Parameter
from rich import box
from rich.table import Table

from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.models import bytes_of, manifest_of
from lossloop.app.cli.plan import finite
from lossloop.app.converting import Converted, Parity, Shrink
from lossloop.app.converting import convert as make
from lossloop.app.converting.base import TOLERANCE
from lossloop.core.errors import InputError
from lossloop.core.ids import new_id
from lossloop.registry import Manifest, versions
from lossloop.serve.runtimes.guessing import runtime_of


def convert(  # noqa: PLR0913 - each is an option
    source: str,
    target: Path,
    /,
    *,
    rows: Annotated[Path, Parameter(name="--rows")],
    manifest: Annotated[Path | None, Parameter(name="--manifest")] = None,
    tolerance: Annotated[float, Parameter(name="--tolerance")] = TOLERANCE,
    threshold: Annotated[float | None, Parameter(name="--threshold")] = None,
    quantize: Annotated[Literal["dynamic", "float16"] | None, Parameter(name="--quantize")] = None,
    trees: Annotated[int | None, Parameter(name="--trees")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Make ONNX of a model, and refuse it where it answers differently on held-out rows.

    Parameters
    ----------
    source
        A model's file, or a version such as late:3.
    target
        The file to write; its name ends in .onnx. Its manifest is written beside it, as .json.
    rows
        Held-out rows as Parquet, a column for each feature.
    manifest
        The manifest of a file that does not name its features.
    tolerance
        The largest difference of an answer that is allowed.
    threshold
        From which score on something is done; 0.5 for probabilities if left out.
    quantize
        Make the weights of a network smaller: dynamic (8 bits) or float16.
    trees
        Keep so many of the first trees, or rounds of boosting.
    state
        The state directory, where the source is a version.
    json
        Answer as JSON.
    """
    if target.suffix != ".onnx":
        raise InputError("the target's name ends in .onnx", field="target")
    shrink = Shrink(quantize=quantize, trees=trees)
    artifact, given = _source(source, manifest, state)
    found = make(
        artifact, given, _read(rows), name=source, tolerance=tolerance, threshold=threshold, shrink=shrink
    )
    if found.parity.holds:
        _write(target, found)
    _say(found, target, as_json=json)


def _say(found: Converted, target: Path, *, as_json: bool) -> None:
    """Print what came of it; where it was refused, end with 1, or raise InputError for people."""
    refused = None if found.parity.holds else _refused(found.parity)
    if as_json:  # one document, whatever became of it
        told = plain(found, target)
        print_json(told if refused is None else {**told, "error": str(refused), "field": refused.field})
        if refused is not None:
            sys.stdout.flush()
            sys.exit(1)
        return
    screen = console()
    for line in lines(found):
        screen.print(line)
    if refused is not None:
        raise refused
    screen.print(f"{target} and {target.with_suffix('.json')} are written", highlight=False)


def _refused(parity: Parity) -> InputError:
    words = (
        f"the answers differ by up to {parity.largest:.3g}, more than {parity.tolerance:g}; "
        "nothing was written"
    )
    return InputError(words, field="tolerance")


def _source(source: str, manifest: Path | None, state: Path) -> tuple[bytes, Manifest]:
    """A model and its manifest, from a file or from the registry."""
    model, colon, number = source.rpartition(":")
    if not Path(source).exists() and colon and number.isdecimal():
        place = home(state)
        store = place.state()
        try:
            found = versions.find(store, model, int(number)).manifest
        finally:
            store.close()
        if not found.artifact:
            raise InputError(f"{source} is served by another system; convert its file", field="source")
        return place.artifacts.get(found.artifact), found
    artifact = bytes_of(Path(source))
    given = Manifest() if manifest is None else manifest_of(manifest)
    if not given.runtime:
        given = msgspec.structs.replace(given, runtime=runtime_of(artifact, source))
    return artifact, given


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path} as Parquet: {error}", field="rows") from None


def _write(target: Path, found: Converted) -> None:
    """The manifest, and then the model: each whole or not at all."""
    document = msgspec.json.format(msgspec.json.encode(found.manifest), indent=2)
    for path, data in ((target.with_suffix(".json"), document), (target, found.artifact)):
        draft = path.with_name(f".{new_id()}")
        try:
            draft.write_bytes(data)
            os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise InputError(f"cannot write {path}: {error.strerror}", field="target") from None


def plain(found: Converted, target: Path) -> dict[str, Any]:
    """What came of it as plain values."""
    told: dict[str, Any] = finite(msgspec.to_builtins(
        {"parity": found.parity, "before": found.before, "after": found.after}
    ))  # fmt: skip
    written = str(target) if found.parity.holds else None
    return {"written": written, **told}


def lines(found: Converted) -> Iterator[Table | str]:
    """What came of it, for a terminal."""
    parity = found.parity
    yield (
        f"{parity.rows:,} rows: answers differ by {parity.largest:.3g} at most, {parity.mean:.3g} on average "
        f"(allowed: {parity.tolerance:g}){_flips(parity)}"
    )
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("")
    for name in ("bytes", "CPU us, 1 row", "CPU us, 64 rows"):
        made.add_column(name, justify="right")
    for name, each in (("before", found.before), ("after", found.after)):
        made.add_row(name, f"{each.bytes:,}", f"{each.one:,.1f}", f"{each.many:,.1f}")
    yield made
    if parity.largest > 0:
        yield "worst rows: " + ", ".join(
            f"{each.row} ({each.difference:.3g})" for each in parity.worst if each.difference > 0
        )


def _flips(parity: Parity) -> str:
    if parity.flips is None:
        return ""
    at = "" if parity.threshold is None else f" at {parity.threshold:g}"
    return f"; {parity.flips:.3%} of decisions{at} are others"
