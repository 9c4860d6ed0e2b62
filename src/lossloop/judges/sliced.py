"""The evidence and the state of a judge over many slices, and how the one moves the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.judges.ebh import believed, strongest
from lossloop.judges.engine import KAPPAS
from lossloop.judges.holding import log_mean, settled
from lossloop.judges.promise import Counts, Mode, Promise
from lossloop.judges.streams import Columns, Streams

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

RESERVE = 0.1
"""The part of the error budget that slices have which come later."""
_BETS = len(KAPPAS)
_SEEN = ("share", "count", "total", "squares", "low", "high", "rows", "labelled", "first")
"""What is kept of a slice beside its process; `total` and `squares` are of losses less the limit."""
_SLACK = 1e-9
"""Of a logarithm: what two ways to add it up may differ by, and more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceLosses:
    """Losses by slice, moment by moment: a moment is a block, or a row. Arrays of m entries, of t moments."""

    names: tuple[str, ...]
    """Every slice that is known by now, each once."""
    moment: Codes
    """Rising from 0: all entries of a moment are judged together. Shape (m,)."""
    place: Codes
    """Which of the names; each at most once in a moment. Shape (m,)."""
    loss: Array
    """The slice's mean loss. Shape (m,)."""
    rows: Codes
    """How many rows that is the mean of, and how many of them have their outcome. Shape (m,)."""
    labelled: Codes
    total: Codes
    """How many rows each moment has, in whatever slices. Shape (t,)."""

    def __post_init__(self) -> None:
        entries = {len(each) for each in (self.moment, self.place, self.loss, self.rows, self.labelled)}
        if len(entries) != 1 or len(set(self.names)) < len(self.names):
            raise InputError("losses of slices need five columns as long, and different names", field="names")
        if len(self.place) and not (self.place.min() >= 0 and self.place.max() < len(self.names)):
            raise InputError("a loss belongs to a slice that has no name", field="place")
        if len(self.moment) and not (
            (np.diff(self.moment) >= 0).all() and self.moment[0] >= 0 and self.moment[-1] < len(self)
        ):
            raise InputError("moments must rise, from 0 to one less than there are", field="moment")

    def __len__(self) -> int:
        return len(self.total)

    def __getitem__(self, moments: slice, /) -> SliceLosses:
        first, last, _ = moments.indices(len(self))
        low, high = np.searchsorted(self.moment, [first, max(first, last)])
        cut = {name: getattr(self, name)[low:high] for name in ("place", "loss", "rows", "labelled")}
        return SliceLosses(
            names=self.names, moment=self.moment[low:high] - first, total=self.total[moments], **cut
        )


class SliceState(Record, frozen=True):
    """What was judged of each slice, packed; about 170 bytes a slice by blocks, and 360 by rows."""

    names: tuple[str, ...] = ()
    packed: bytes = b""
    """Little-endian float64, a row for each slice: the process, then what was seen."""
    count: int = 0
    """Moments judged."""
    joined: int = 0
    """How many times slices joined."""
    rows: int = 0
    crossed: int | None = None
    crossed_evidence: float = 0.0


class Run:
    """A state unpacked, and moved on."""

    def __init__(
        self, promise: Promise, limit_of: Callable[[str], float], floor: float, state: SliceState,
        known: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.before = state
        self._needed, self._floor = promise.log_threshold, floor
        self._among, self._by_rows = promise.mode is Mode.AMONG, promise.counts is Counts.OUTCOMES
        self._streams = Streams(_life(promise.log_threshold))
        self._logs: Array | None = None
        there = set(state.names)
        new = tuple(name for name in known if name not in there)
        self.names = (*state.names, *new)
        self.joined = state.joined + bool(new)
        self.limits = np.array([limit_of(name) for name in self.names], dtype=np.float64)
        width = (3 if self._by_rows else 1) * _BETS + len(_SEEN)
        kept = np.frombuffer(state.packed, dtype="<f8").reshape(len(state.names), width)
        empty = np.zeros((len(new), width))
        start = self._streams.start(len(new))
        empty[:, :_BETS] = start.logs if self._by_rows else -math.inf
        if self._by_rows:
            empty[:, _BETS : 3 * _BETS] = np.hstack([start.gains, start.shares])
        table = np.vstack([kept, empty])
        self.seen = {name: table[:, width - len(_SEEN) + place] for place, name in enumerate(_SEEN)}
        self._bets = table[:, : width - len(_SEEN)]
        self._table = table
        if new:
            self.seen["share"][len(state.names) :] = _share(state.joined, len(new))
            self.seen["low"][len(state.names) :] = math.inf
            self.seen["high"][len(state.names) :] = -math.inf
        self.crossed, self._crossed_evidence = state.crossed, state.crossed_evidence

    # What is there.

    @property
    def logs(self) -> Array:
        """Log evidence of each slice; minus infinity of nothing."""
        if self._logs is None:
            held = self._streams.log_wealth(self._columns()) if self._by_rows else self._bets
            self._logs = np.asarray(log_mean(held))
        return self._logs

    @property
    def weighed(self) -> Array:
        """Log evidence times the slice's share."""
        weighed: Array = self.logs + np.log(self.seen["share"])
        return weighed

    @property
    def labelled(self) -> int:
        """Rows, in whatever slices, that had their outcome."""
        return int(self.seen["labelled"].sum())

    @property
    def evidence(self) -> float:
        """What is compared with the threshold; at the crossing if there was one."""
        if self.crossed is not None:
            return self._crossed_evidence
        now = self._strongest()
        return now if math.isfinite(now) else 0.0

    def standing(self) -> npt.NDArray[np.integer]:
        """The slices that alarm now, worst first."""
        weighed, needed = self.weighed, self._needed
        if self._among:
            return believed(weighed, needed)
        order = np.argsort(-weighed, kind="stable")
        return order[: int(np.count_nonzero(weighed >= needed))]

    def _strongest(self) -> float:
        if self._among:
            return strongest(self.weighed)
        return float(self.weighed.max(initial=-math.inf))

    def state(self, evidence: SliceLosses) -> SliceState:
        """What is kept."""
        return SliceState(
            names=self.names,
            packed=self._table.astype("<f8", copy=False).tobytes(),
            count=self.before.count + len(evidence),
            joined=self.joined,
            rows=self.before.rows + int(evidence.total.sum()),
            crossed=self.crossed,
            crossed_evidence=self._crossed_evidence,
        )

    # What moves.

    def judge(self, evidence: SliceLosses) -> int | None:
        """Judge all moments; return the one that decided, if any did."""
        places = {name: row for row, name in enumerate(self.names)}
        rows = np.array([places[name] for name in evidence.names], np.int64)[evidence.place]
        ratios = np.maximum(evidence.loss - self._floor, 0.0) / (self.limits[rows] - self._floor)
        bounds = np.searchsorted(evidence.moment, np.arange(len(evidence) + 1))
        before = self.crossed
        if self._by_rows and len(rows):  # rows that belong to no slice move nothing
            self._rows(rows, ratios, bounds, evidence)
        elif not self._by_rows:
            for at, (low, high) in enumerate(pairwise(bounds.tolist())):
                if low == high:
                    continue
                self._block(rows[low:high], ratios[low:high])
                self._add(rows[low:high], evidence, low, high)
                self._look(self.before.count + at + 1)
        return None if before is not None or self.crossed is None else self.crossed - self.before.count - 1

    def _block(self, rows: Codes, ratios: Array) -> None:
        """One loss of each of some slices; only their logs are kept."""
        count = self.seen["count"][rows].astype(np.int64)
        held = settled(self._bets[rows], Mode.LIFE)
        moved = self._streams.update_together(
            _columns(held.logs, held.gains, held.shares, count), ratios[None]
        )
        self._bets[rows] = self._streams.log_wealth(moved)
        self._logs = None

    def _rows(self, rows: Codes, ratios: Array, bounds: Codes, evidence: SliceLosses) -> None:
        """Rows at once where no slice comes near, and in halves where one may alarm within them."""
        left = [(0, len(bounds) - 1)]
        while left:
            first, last = left.pop()
            low, high = int(bounds[first]), int(bounds[last])
            if (
                last - first > 1
                and self.crossed is None
                and self._may_cross(rows[low:high], ratios[low:high])
            ):
                middle = (first + last) // 2
                left += [(middle, last), (first, middle)]
                continue
            self._put(self._streams.update(self._columns(), rows[low:high], ratios[low:high]))
            self._add(rows[low:high], evidence, low, high)
            self._look(self.before.count + last)

    def _may_cross(self, rows: Codes, ratios: Array) -> bool:
        """Whether some slices may be believed somewhere within these rows.

        Where k are, one of them has k times its share of what is needed, and one has all that is needed.
        """
        many, largest = len(self.names), float(np.log(self.seen["share"].max(initial=0.0)))
        while True:
            bar = max(self._needed, self._needed - largest - (math.log(many) if self._among else 0.0))
            streams = Streams(_life(bar - _SLACK))
            found = int(np.count_nonzero(streams.update(self._columns(), rows, ratios).crossed))
            if not found or found >= many or bar == self._needed:
                return bool(found)
            many = found

    def _look(self, count: int) -> None:
        if self.crossed is not None:
            return
        found = self._strongest()
        if found >= self._needed:
            self.crossed, self._crossed_evidence = count, found
            self.seen["first"][self.standing()] = 1.0

    def _add(self, rows: Codes, evidence: SliceLosses, low: int, high: int) -> None:
        """Note what was seen: one after the other, so that sums are the same however evidence is cut."""
        loss = evidence.loss[low:high]
        above = loss - self.limits[rows]
        for name, values in (
            ("count", 1.0), ("total", above), ("squares", np.square(above)),
            ("rows", evidence.rows[low:high]), ("labelled", evidence.labelled[low:high]),
        ):  # fmt: skip
            np.add.at(self.seen[name], rows, values)
        np.minimum.at(self.seen["low"], rows, loss)
        np.maximum.at(self.seen["high"], rows, loss)

    def _columns(self) -> Columns:
        logs, gains, shares = (self._bets[:, place * _BETS : (place + 1) * _BETS] for place in range(3))
        return _columns(logs, gains, shares, self.seen["count"].astype(np.int64))

    def _put(self, columns: Columns) -> None:
        self._bets[:] = np.hstack([columns.logs, columns.gains, columns.shares])
        self._logs = None


def _life(log_threshold: float) -> Promise:
    return Promise(mode=Mode.LIFE, threshold=math.exp(max(log_threshold, _SLACK)))


def _columns(logs: Array, gains: Array, shares: Array, count: Codes) -> Columns:
    none = np.zeros(len(count), np.int64)
    return Columns(
        logs=logs, gains=gains, shares=shares, count=count, crossed=none, evidence=none.astype(float)
    )


def _share(joined: int, many: int) -> float:
    """The share of the error budget that each of `many` slices has which join together, as the n-th to."""
    part = 1.0 - RESERVE if joined == 0 else RESERVE / (joined * (joined + 1))
    return part / many
