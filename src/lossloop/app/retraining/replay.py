"""One past, several schedules: train, predict the next blocks, judge them when their labels come.

Pure but for the trainings, which the caller makes. Nothing looks ahead: a training at the end of a block sees
the rows that had reached their judging age by then and whose outcome had come; what it makes answers from the
next block on; an alarm is raised once the block behind it has reached that age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.retraining.alarms import Watches, retraining_watches
from lossloop.app.retraining.base import Course, Floats, Made, Replayed, Schedule, Stream, Train, Training
from lossloop.core.calendar import Block, Int64
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.judges import block_interval
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

FEWEST_BLOCKS = 10
"""That are charged, for an interval over them."""
Tell = Callable[[int, int], None]


@dataclass
class _Trainings:
    """Trainings that were made; a cold one of a moment is the same in every course."""

    stream: Stream
    train: Train
    age: Micros
    _cold: dict[Micros, tuple[Made, Training]] = field(default_factory=dict)

    def make(self, now: Micros, previous: Made | None, why: str) -> tuple[Made, Training]:
        if previous is None and now in self._cold:
            made, told = self._cold[now]
            return made, msgspec.structs.replace(told, why=why)
        rows = self.stream.known_by(now, self.age)
        if not len(rows):
            raise InputError("no outcome had come by the first training; let it be later", field="first")
        made = self.train(rows, now, None if previous is None else previous.artifact)
        told = Training(at=now, rows=len(rows), cpu=made.cpu, why=why)
        if previous is None:
            self._cold[now] = (made, told)
        return made, told


def replay(
    stream: Stream, lens: Lens, schedules: Sequence[Schedule], train: Train, *, first: int,
    tell: Tell = lambda done, of: None,
) -> Replayed:  # fmt: skip
    """What would have come of each schedule.

    Args:
        stream: The past.
        lens: The policy: its loss, judging age, blocks and watches.
        schedules: When to train; "never" is what they are compared with and is always there.
        train: Makes a model of rows.
        first: How many blocks the first model is trained on; it is the same in every course.
        tell: Told of blocks that were replayed.

    Raises:
        InputError: There are too few blocks, or no outcomes by then; says how many are needed.
    """
    blocks, starts = np.unique(stream.rows.block, return_index=True)
    spans = _spans(starts, len(stream.rows))
    if first < 1 or len(blocks) < first + FEWEST_BLOCKS:
        raise InputError(
            f"{first} blocks to train on first and {FEWEST_BLOCKS} to be charged for are needed; there are "
            f"{len(blocks)}",
            field="first",
        )
    asked = [Schedule(name="never"), *(each for each in schedules if each.name != "never")]
    trainings = _Trainings(stream=stream, train=train, age=lens.policy.labels.mature_after)
    runs = []
    for number, schedule in enumerate(asked):
        run = _Run(lens=lens, stream=stream, trainings=trainings, schedule=schedule)
        run.take(lens.policy.calendar.end(int(blocks[first - 1])), "first")
        for place in range(first, len(blocks)):
            run.block(int(blocks[place]), spans[place], last=place + 1 == len(blocks))
            tell(number * (len(blocks) - first) + place - first + 1, len(asked) * (len(blocks) - first))
        runs.append(run)
    return _told(stream, lens, blocks, first, runs)


def _spans(starts: Int64, count: int) -> list[tuple[int, int]]:
    ends = [*starts[1:].tolist(), count]
    return list(zip(starts.tolist(), ends, strict=True))


@dataclass
class _Run:
    """One schedule, while it is replayed."""

    lens: Lens
    stream: Stream
    trainings: _Trainings
    schedule: Schedule
    made: list[Training] = field(default_factory=list)
    losses: list[Floats] = field(default_factory=list)
    watches: Watches = field(init=False)
    model: Made | None = None
    since: int = 0
    """Blocks since the last training."""
    waiting: list[tuple[Block, Rows]] = field(default_factory=list)
    """Blocks of the present model that have not reached the judging age."""

    def __post_init__(self) -> None:
        names = retraining_watches(self.lens.policy) if self.schedule.on_alarm else []
        self.watches = Watches(names=names)

    @property
    def seen(self) -> Lens:
        """The policy's view of what the present model answers."""
        cut = None if self.model is None else self.model.manifest.thresholds
        return self.lens if cut is None else replace(self.lens, thresholds=((self.version.number, cut),))

    @property
    def version(self) -> Version:
        assert self.model is not None
        number, manifest = len(self.made), self.model.manifest
        model = self.lens.policy.model
        return Version(model=model, number=number, digest=manifest.digest, manifest=manifest, registered_at=0)

    def take(self, now: Micros, why: str) -> None:
        """Train at a moment; what that makes answers from the next block on."""
        previous = self.model if self.schedule.warm else None
        self.model, told = self.trainings.make(now, previous, why)
        self.made.append(told)
        self.since = 0
        self.waiting.clear()
        self.watches.crown(self.seen, self.version, at=now)

    def block(self, block: Block, span: tuple[int, int], *, last: bool) -> None:
        """Answer a block's rows; at its end, train if that is due."""
        assert self.model is not None
        mine = self._answered(span)
        self.losses.append(self.seen.scores(mine.y_true, mine.y_pred, mine.version))
        self.since += 1
        if last:
            return  # nothing comes behind it that a training would answer
        now = self.lens.policy.calendar.end(block)
        self.waiting.append((block, mine))
        if why := self._due(now):
            self.take(now, why)

    def _answered(self, span: tuple[int, int]) -> Rows:
        """Rows as if the present model had been asked."""
        assert self.model is not None
        start, end = span
        rows = part_of(self.stream.rows, start, end)
        y_pred = self.model.predict(self.stream.asked.slice(start, end - start))
        count = end - start
        return replace(
            rows, y_pred=y_pred, version=np.full(count, self.version.number), role=np.full(count, CHAMPION),
            propensity=np.ones(count), shadow_version=np.zeros(count, np.int64),
            shadow_y_pred=np.full(count, np.nan),
        )  # fmt: skip

    def _due(self, now: Micros) -> str:
        if self.schedule.every is not None and self.since >= self.schedule.every:
            return f"after {self.since} blocks"
        found = list(self._alarms(now)) if self.schedule.on_alarm else []
        return f"alarm of {', '.join(dict.fromkeys(found))}" if found else ""

    def _alarms(self, now: Micros) -> Iterator[str]:
        """What alarms by the labels of blocks that have reached the judging age by now."""
        age = self.lens.policy.labels.mature_after
        while self.waiting:
            block, mine = self.waiting[0]
            judged = self.lens.policy.calendar.end(block) + age
            if judged > now:
                return
            self.waiting.pop(0)
            yield from self.watches.alarms(self.seen, self.version, mine, block, now=judged)


def part_of(rows: Rows, start: int, end: int) -> Rows:
    """Rows `start` to `end`, in their order."""
    wanted = np.zeros(len(rows), bool)
    wanted[start:end] = True
    return rows.pick(wanted)


def _told(stream: Stream, lens: Lens, blocks: Int64, first: int, runs: Sequence[_Run]) -> Replayed:
    charged = stream.rows.block >= blocks[first]
    codes = stream.rows.block[charged]
    losses = np.column_stack([np.concatenate(run.losses) for run in runs])
    came = ~np.isnan(losses).any(axis=1)
    losses, codes = losses[came], codes[came]
    if len(np.unique(codes)) < FEWEST_BLOCKS:
        raise InputError(
            f"only {len(np.unique(codes))} blocks have outcomes behind the first training; "
            f"{FEWEST_BLOCKS} are needed",
            field="since",
        )
    courses = tuple(_course(run, losses[:, place], losses[:, 0], codes) for place, run in enumerate(runs))
    calendar = lens.policy.calendar
    return Replayed(
        model=lens.policy.model, loss=lens.loss.version, unit=lens.loss.unit, since=runs[0].made[0].at,
        until=calendar.end(int(blocks[-1])), rows=len(losses), first=runs[0].made[0], courses=courses,
    )  # fmt: skip


def _course(run: _Run, losses: Floats, never: Floats, codes: Int64) -> Course:
    _, places = np.unique(codes, return_inverse=True)
    trainings = tuple(run.made[1:])
    return Course(
        schedule=run.schedule, trainings=trainings, loss=block_interval(losses, codes),
        change=block_interval(losses - never, codes), cpu=sum(each.cpu for each in trainings),
        blocks=tuple((np.bincount(places, weights=losses) / np.bincount(places)).tolist()),
        unjudged=tuple(run.watches.problems),
    )  # fmt: skip


def timed(call: Callable[[], Made]) -> Made:
    """A training made in this process, with the CPU seconds that it took."""
    begun = time.process_time()
    found = call()
    return replace(found, cpu=time.process_time() - begun)
