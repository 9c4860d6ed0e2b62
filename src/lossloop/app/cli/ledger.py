"""`lossloop ledger ...`: seal, verify, prune, export and import the record of facts."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from lossloop.access.audit import AuditLog
from lossloop.app import bundles
from lossloop.app import checking as verifying
from lossloop.app.checking import offsets_of
from lossloop.app.cli.bar import byte_bar, count_bar
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, Store, answer, home, print_json
from lossloop.app.cli.terminal import printable
from lossloop.app.home import Home
from lossloop.app.keeping import prune as pruned
from lossloop.app.migrating import migrate as migrated
from lossloop.app.operate import fold_here
from lossloop.app.rebuilding import Rebuilt
from lossloop.app.rebuilding import rebuild as rebuilt
from lossloop.core.clock import SystemClock, format_time, parse_duration
from lossloop.core.errors import StateError
from lossloop.core.sizes import format_size, parse_size
from lossloop.ledger.files.sealing import seal as sealed
from lossloop.ledger.findings import TORN, Finding
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.intake import Taken
from lossloop.ledger.removals import Pruned

SHOWN_IDS = 5
SkipDamaged = Annotated[bool, Parameter(name="--skip-damaged", negative="")]


def seal(*, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Turn finished segments of the log into Parquet.

    Parameters
    ----------
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    log = place.segments.directory
    before = sum(path.stat().st_size for path in log.glob("*.seg") if path.is_file())
    with byte_bar("sealing", before, quiet=json) as tell:
        made = sealed(log, offsets_of(place), tell=tell)
    segments = [
        {
            "segment": manifest.segment,
            "rows": sum(table.rows for table in manifest.tables),
            "bytes": manifest.end,
            "sealed_bytes": sum(blob.bytes for blob in manifest.blobs),
        }
        for manifest in made
    ]
    was = sum(manifest.end for manifest in made)
    now = sum(blob.bytes for manifest in made for blob in manifest.blobs)
    words = f"Sealed {len(made)} segments: {format_size(was)} became {format_size(now)}."
    answer({"sealed": segments}, as_json=json, words=words if made else "No finished segment to seal.")


def verify(*, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Check every checksum of the log; say which events a wrong byte touches, and end with 1.

    Parameters
    ----------
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = Home(path=state).check()
    with byte_bar("verifying", verifying.size(place), quiet=json) as tell:
        report = verifying.verify(place, tell=tell)
    audit = _audit(place)
    sound = report.sound and not audit
    if json:
        print_json({"sound": sound, "audit": audit or None, **msgspec.to_builtins(report)})
    else:
        for finding in report.findings:
            print(printable(_line(finding, "bytes" if place.database is None else "frames")))
        if audit:
            print(f"the audit log: {audit}")
        for stray in report.strays:
            print(f"{stray}: left by a crash; the next sealing removes it")
        print(
            f"Checked {report.segments:,} segments, {report.sealed:,} of them sealed: {report.frames:,} "
            f"frames, {format_size(report.bytes)}: {'sound' if sound else 'NOT sound'}."
        )
    if not sound:
        sys.exit(1)


def prune(
    model: str,
    /,
    *,
    older_than: Annotated[str | None, Parameter(name="--older-than")] = None,
    larger_than: Annotated[str | None, Parameter(name="--larger-than")] = None,
    dry_run: Annotated[bool, Parameter(name="--dry-run", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Remove a model's oldest facts from sealed segments; how many went stays as a fact.

    Parameters
    ----------
    model
        The model.
    older_than
        Remove what was received longer ago than this, such as 400d.
    larger_than
        Remove the oldest segments' rows while the model's files are larger than this, such as 10GB.
    dry_run
        Say what would go, and remove nothing.
    state
        The state directory.
    json
        Answer as JSON.
    """
    cutoff = None if older_than is None else SystemClock().now() - parse_duration(older_than)
    size = None if larger_than is None else parse_size(larger_than)
    place = home(state)
    gone = pruned(place, model, cutoff=cutoff, larger_than=size, dry_run=dry_run)
    plain = msgspec.to_builtins(gone)
    times = {name: None if plain[name] is None else format_time(plain[name]) for name in ("first", "last")}
    answer({**plain, **times, "dry_run": dry_run}, as_json=json, words=_pruned(gone, dry_run=dry_run))


def rebuild(
    *,
    accept: Annotated[bool, Parameter(name="--accept", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Delete all derived state and make it anew from the facts; end with 1 where they decided otherwise.

    Parameters
    ----------
    accept
        Take the new state also where it disagrees with the decisions in the log.
    state
        The state directory; no `lossloop up` may run over it, or over its database.
    json
        Answer as JSON.
    """
    place = Home(path=state).check()
    with count_bar("folding", quiet=json) as tell:
        found = rebuilt(place, accept=accept, progress=tell)
    answer({**msgspec.to_builtins(found), "agrees": found.agrees}, as_json=json, words=_rebuilt(found))
    if not found.agrees:
        sys.exit(1)


def migrate(*, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Bring a state directory of an older release up to date, after a backup.

    Parameters
    ----------
    state
        The state directory; no other process may use it.
    json
        Answer as JSON.
    """
    place = Home(path=state)
    backup = migrated(place)
    if backup is not None and place.database is None:
        with count_bar("folding", quiet=json) as tell:
            rebuilt(place, accept=True, progress=tell)
    words = f"{state} is up to date." + (f" What was there before: {backup}" if backup else "")
    answer({"backup": None if backup is None else str(backup)}, as_json=json, words=words)


def export(
    target: Path,
    /,
    *,
    skip_damaged: SkipDamaged = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Write the whole ledger into FILE.tar.zst or a directory, also while it is in use.

    Parameters
    ----------
    target
        A new file whose name ends in .tar.zst, or a new directory.
    skip_damaged
        Leave out frames in a database that are damaged, and say how many.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = Home(path=state).check()
    with byte_bar("exporting", bundles.size(place), quiet=json) as tell:
        contents = bundles.export(place, target, skip_damaged=skip_damaged, tell=tell)
    told = {"target": str(target), **contents.about, **_amount(contents)}
    words = f"Wrote {target}: {told['files']:,} files, {format_size(told['bytes'])}, up to {told['until']}."
    answer(told, as_json=json, words=words + _left_out(told.get("damaged", 0)))


def bring_in(
    source: Path,
    /,
    *,
    store: Store = "",
    skip_damaged: SkipDamaged = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Make a state directory of what `ledger export` wrote, and fold its log.

    Parameters
    ----------
    source
        The file or directory.
    store
        A database that is to hold log and derived state: postgresql://..., or env:NAME of a variable that
        says so. A ledger that is not there yet is made; one that is there has to be empty.
    skip_damaged
        Leave out what is damaged on the way into a database, and say how much.
    state
        The state directory to make; empty, or not there yet.
    json
        Answer as JSON.
    """
    total = bundles.unpacked_size(source) * (2 if store else 1)
    with byte_bar("importing", total, quiet=json) as tell:
        brought = bundles.bring_in(source, state, store=store, skip_damaged=skip_damaged, tell=tell)
    fold_here(Home(path=state).check())
    told = {"state": str(state), **brought.contents.about, **_amount(brought.contents)}
    words = f"Made {state} of {told['files']:,} files, up to {told['until']}."
    if brought.database is not None and brought.taken is not None:
        told["store"] = {"place": str(brought.database), **asdict(brought.taken), "damaged": brought.damaged}
        words += f"\n{_moved(brought.taken, brought.database)}{_left_out(brought.damaged)}"
    answer(told, as_json=json, words=words)


def _moved(taken: Taken, database: Database) -> str:
    if taken.known:
        return f"Its facts were in {database} already."
    return f"{taken.frames:,} frames with {taken.rows:,} rows went into {database}."


def _left_out(damaged: int) -> str:
    return f"\nLeft out, for damage: {damaged:,} stretches of the log." if damaged else ""


def _audit(place: Home) -> str:
    try:
        AuditLog(place.path).entries()
    except StateError as error:
        return str(error)
    return ""


def _amount(contents: bundles.Contents) -> dict[str, Any]:
    return {"files": len(contents.files), "bytes": sum(item.bytes for item in contents.files.values())}


def _line(finding: Finding, unit: str) -> str:
    where = f" {unit} {finding.start:,} to {finding.end:,}" if finding.end else ""
    return f"{finding.segment}{where}: {finding.problem}{_touched(finding)}"


def _touched(finding: Finding) -> str:
    """Which events a finding touches, in words."""
    if finding.what == TORN or (finding.rows == 0 and not finding.kind):
        return ""
    kind = f"{finding.kind}s".replace("_", " ") if finding.kind else "events"
    words = f": {'an unknown number of' if finding.rows is None else f'{finding.rows:,}'} {kind}"
    if finding.model:
        words += f" of {finding.model}"
    if finding.first is not None and finding.last is not None:
        times = dict.fromkeys((format_time(finding.first), format_time(finding.last)))
        words += f", received {' to '.join(times)}"
    if finding.ids:
        more = ", ..." if len(finding.ids) > SHOWN_IDS else ""
        words += f"; ids {', '.join(finding.ids[:SHOWN_IDS])}{more}"
    return words


def _rebuilt(found: Rebuilt) -> str:
    words = f"Folded {found.frames:,} frames anew; {found.same:,} decisions are as the log says."
    for what, ids in (
        ("decided otherwise", found.differ),
        ("in the log only", found.only_logged),
        ("not in the log", found.only_recomputed),
    ):
        if ids:
            more = ", ..." if len(ids) > SHOWN_IDS else ""
            words += f"\n{len(ids):,} {what}: {', '.join(ids[:SHOWN_IDS])}{more}"
    if found.kept:
        words += "\nThe state from before was kept; --accept takes the new one."
    return words


def _pruned(gone: Pruned, *, dry_run: bool) -> str:
    if not gone.segments:
        return f"Nothing of {gone.model} is too old or too much."
    verb = "Would remove" if dry_run else "Removed"
    times = f", received {format_time(gone.first or 0)} to {format_time(gone.last or 0)}"
    return (
        f"{verb} {gone.predictions:,} predictions and {gone.outcomes:,} outcomes of {gone.model} from "
        f"{gone.segments:,} segments, {format_size(gone.bytes)}{times}."
    )
