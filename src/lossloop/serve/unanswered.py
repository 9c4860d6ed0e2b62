"""A row that nobody answered: what each version that was asked, or was not, failed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossloop.core.errors import DeadlineExceeded, InputError, VersionFailed
from lossloop.serve.lanes import LATE, NO_ANSWER


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Why a row has no answer."""

    whys: tuple[tuple[int, str], ...] = ()
    """The versions in the order in which they were to answer, and why each did not."""
    refused: bool = False
    """Whether a rule of the policy refused it, so that no other version was asked."""

    def after(self, version: int, why: str, *, refused: bool = False) -> Unanswered:
        """The same after one version more."""
        return Unanswered((*self.whys, (version, why)), refused)

    @property
    def blames_features(self) -> bool:
        """Whether versions did answer, and none of them validly."""
        return any(why == NO_ANSWER for _, why in self.whys)

    def words(self, model: str) -> str:
        """Such as ``fraud:3: RuntimeError; fraud:2: CircuitOpen``."""
        return "; ".join(f"{model}:{version}: {why}" for version, why in self.whys)


def problem_of(model: str, row: Unanswered, place: int) -> InputError:
    """What a caller is told of one row, beside others that were answered."""
    if row.refused:
        return InputError(f"the answer may not leave: {row.words(model)}", field="y_pred", row=place)
    if row.blames_features:
        return InputError(
            f"no version has a valid answer to this row ({row.words(model)}); are its features unlike any "
            "that they know?",
            field="features",
            row=place,
        )
    return InputError(f"no version could answer: {row.words(model)}; send this row again", row=place)


def raise_where_all_failed(model: str, rows: Sequence[Unanswered]) -> None:
    """Raise where no row has an answer and none of them is to blame.

    Raises:
        DeadlineExceeded: A version was too slow.
        VersionFailed: Versions failed, or were not asked as they had failed.
    """
    if any(row.refused or row.blames_features for row in rows):
        return
    told = "; ".join(dict.fromkeys(row.words(model) for row in rows))
    late = any(why == LATE for row in rows for _, why in row.whys)
    error = DeadlineExceeded if late else VersionFailed
    raise error(f"no version could answer: {told}; send this again")
