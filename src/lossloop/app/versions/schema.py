"""Does the version take what traffic sends? Its features against the champion's, and against recent rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lossloop.act.checks import Check, Status
from lossloop.app.versions.base import Case, Detail, Shown, told
from lossloop.app.versions.recent import Recent, missing
from lossloop.registry import Feature
from lossloop.serve.runtimes import EXTERNAL


def check(case: Case) -> Shown:
    """Fail where a recent row, or any that the champion takes, is one that the version would not."""
    manifest, champion = case.version.manifest, case.champion
    if not manifest.features:
        if manifest.runtime == EXTERNAL:
            why = "another system serves it, and its manifest names no features"
            return told(Check.SCHEMA, Status.SKIPPED, why)
        return told(Check.SCHEMA, Status.FAILED, "the manifest names no features")
    ours = {each.name: each for each in manifest.features}
    theirs = {each.name: each for each in champion.manifest.features} if champion else {}
    differences = [*(_differences(ours, theirs) if theirs else ()), *_not_known(ours, theirs, case.recent)]
    details = []
    if differences:
        rows = tuple(each[:2] for each in differences)
        details.append(Detail(title="Against the champion", head=("feature", "difference"), rows=rows))
    rows_there, refused = len(case.recent), int((~case.inputs.fits).sum())
    if refused:
        rows = tuple((name, f"{lacks:,}", f"{other:,}") for name, (lacks, other) in case.inputs.wrong.items())
        head = ("feature", "missing", "of another kind")
        details.append(Detail(title=f"Of {rows_there:,} recent rows", head=head, rows=rows))
    breaking = [f"{name} {words}" for name, words, breaks in differences if breaks]
    figures = {"features": len(ours), "differences": len(differences), "refused": refused, "rows": rows_there}
    if refused:
        names = ", ".join(list(case.inputs.wrong)[:5])
        words = f"it would refuse {refused:,} of {rows_there:,} recent rows: {names}"
        return told(Check.SCHEMA, Status.FAILED, words, figures, details)
    if breaking:
        return told(Check.SCHEMA, Status.FAILED, "; ".join(breaking[:5]), figures, details)
    if not rows_there and not theirs:
        return told(Check.SCHEMA, Status.SKIPPED, "no champion and no recent row to hold it against")
    parts = [f"it takes all of {rows_there:,} recent rows" if rows_there else "no recent row was there"]
    parts.append(f"{len(differences)} differences from the champion" if differences else "the same features")
    return told(Check.SCHEMA, Status.PASSED, "; ".join(parts), figures, details)


def _differences(ours: dict[str, Feature], theirs: dict[str, Feature]) -> Iterator[tuple[str, str, bool]]:
    """Features that differ, how, and whether a row that the champion takes would be refused for it."""
    for name, feature in ours.items():
        other = theirs.get(name)
        if other is None:
            more = "" if feature.nullable else ", and must be there: rows that the champion takes lack it"
            yield name, f"is new{more}", not feature.nullable
        elif other.kind is not feature.kind:
            yield name, f"is a {feature.kind}, of the champion a {other.kind}", True
        elif other.nullable and not feature.nullable:
            yield name, "may be null in the champion's rows, and not in its own", True
        elif feature.nullable and not other.nullable:
            yield name, "may be null now", False
    for name in theirs:
        if name not in ours:
            yield name, "is not asked for any more", False


def _not_known(
    ours: Mapping[str, Feature], theirs: Mapping[str, Feature], recent: Recent
) -> Iterator[tuple[str, str, bool]]:
    """Features that recent rows bring and the version does not know: as champion it would refuse them."""
    for name, values in recent.features.items():
        if name not in ours and not missing(values).all() and (name in theirs or not theirs):
            fix = "as champion it refuses rows that bring it; keep it in the features, nullable"
            yield name, f"is sent, and not known: {fix}", True
