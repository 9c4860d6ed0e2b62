"""The fold: the same facts give the same decisions, bit for bit, however often it is cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.settings import Settings
from lossloop.app.commands import Command, Promote, Register, SetPolicy, Settle, StartRollout, name_of
from lossloop.app.home import Home, init
from lossloop.app.loop import Loop
from lossloop.app.switching import SwitchLoss
from lossloop.core.clock import SystemClock
from lossloop.ledger.applier import Applier
from lossloop.ledger.facts import command
from lossloop.ledger.files.segments import SegmentLog, SegmentReader
from lossloop.ledger.frames import Frame, Kind
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, asked, external, happened, policy_text, ticked
from tests.app.test_beside import COST

SETTINGS = Settings(clock="event", salt="salt", retrain={"again": "somewhere:train"})
WHERE = {"kind": "slices", "tolerance": 0.02, "promise": "5% false among alarms"}
POLICY = policy_text(
    watches={"worse": WATCH, "where": WHERE}, slices=["carrier", "carrier x hour"],
    on={"worse": [{"retrain": "again"}, {"notify": "log"}]}, cooldown="3d",
    rollout=ROLLOUT, probation="9d", budget={"notify": "2 per 30d"},
)  # fmt: skip

BESIDE = SetPolicy(text=json.dumps({**json.loads(POLICY), "beside": [COST]}))
SWITCH = SwitchLoss(model=MODEL, text=policy_text(loss=COST, beside=["brier"]), by="ann", force=True)


class CutOff(Exception):
    """The process ends here."""


class CutReader(SegmentReader):
    """Fails where an applier has logged its decisions and not yet committed."""

    def sync(self, segments: Sequence[str]) -> None:
        raise CutOff


class CutLog(SegmentLog):
    """The same directory, through a reader that fails."""

    def reader(self) -> SegmentReader:
        return CutReader(self.directory)


def facts() -> list[Frame]:
    """A fortnight: alarms, a retraining, releases; then what comes early, late or never, and another loss."""
    frames: list[Frame] = [ticked(0)]
    made = 0

    def order(asked_for: Command) -> None:
        body = msgspec.to_builtins(asked_for)
        frames.append(command(f"c{len(frames)}", name_of(asked_for), body, now=0))

    def ids(count: int) -> list[str]:
        nonlocal made
        made += count
        return [f"p{number}" for number in range(made - count, made)]

    def day(number: int, loss: float, version: int) -> None:
        mine = ids(3)
        features = [{"carrier": f"c{number % 3}", "hour": hour} for hour in range(3)]
        frames.append(
            asked(
                number * DAY + 1, [loss] * 3, mine, version=version, units=["a", "a", "b"], features=features
            )
        )
        frames.append(happened(number * DAY + 2, mine[: 2 + number % 2]))
        frames.append(happened(number * DAY + 9, mine[2:]))

    def arms(hour: float, challenger: float) -> None:
        theirs, mine = ids(30), ids(30)
        frames.append(asked(hour, [0.1] * 30, mine, units=mine, propensity=0.5))
        losses = [challenger] * 30
        frames.append(asked(hour, losses, theirs, units=theirs, version=2, role="challenger", propensity=0.5))
        frames.append(happened(hour + 1, mine + theirs))

    order(SetPolicy(text=POLICY))
    order(Register(model=MODEL, manifest=external("one")))
    order(Register(model=MODEL, manifest=external("two")))
    order(Promote(model=MODEL, version=1))
    for number in range(4):
        day(number, 0.9, 1)
    frames.append(ticked(4 * DAY + 7))
    order(Settle(key=f"{MODEL}/000001", ok=False, detail="not today"))
    order(StartRollout(model=MODEL, version=2, plan={"steps": ["50%"]}))
    arms(4 * DAY + 8, 0.9)
    frames.append(ticked(4 * DAY + 15))
    order(StartRollout(model=MODEL, version=2, plan={"steps": ["50%"]}))
    arms(4 * DAY + 16, 0.1)
    arms(5 * DAY + 2, 0.1)
    frames.append(ticked(6 * DAY))
    for number in range(6, 11):
        day(number, 0.9, 2)
    frames.append(ticked(14 * DAY))
    frames.append(happened(14 * DAY + 1, ["early", "never asked"]))
    frames.append(asked(14 * DAY + 2, [0.5, 0.5], ["early", "open"]))
    frames.append(happened(14 * DAY + 3, ["p0", "p1", "early", "never asked"], 1.0))  # corrections
    frames.append(happened(14 * DAY + 4, ["p0", "open"], None))
    order(BESIDE)
    order(SWITCH)
    frames.append(happened(14 * DAY + 5, ["p1", "early"], 0.0))
    return frames


class Folded:
    """A loop as an applier wants it, which may fail at a frame."""

    def __init__(self, loop: Loop, fail_at: int | None) -> None:
        self._loop = loop
        self._left = fail_at

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        if self._left is not None:
            self._left -= 1
            if not self._left:
                raise CutOff
        made = self._loop.fold(frame, segment=segment, start=start)
        return [(each.id, msgspec.json.encode(each).decode()) for each in made]

    def flush(self) -> None:
        self._loop.flush()


def fold(home: Home, *, log: SegmentLog | None = None, fail_at: int | None = None) -> None:
    """Fold all there is, as an applier does; cut off at a frame, or by the log's reader."""
    state = home.writable_state()
    applier = Applier(log or home.log, state, Folded(Loop(state, home.settings()), fail_at), SystemClock())
    try:
        while applier.step():
            pass
    finally:
        applier.close()
        state.close()


def told(home: Home) -> bytes:
    """Every decision and every point of evidence, as bytes."""
    desk = Desk(home=home)
    with desk.books() as books:
        points = {name: books.points(name) for name in books.models()}
    return msgspec.json.encode([desk.decisions(), points])


def everything(home: Home) -> dict[str, list[tuple[object, ...]]]:
    return Desk(home=home).everything()


Places = pytest.TempPathFactory


def new(places: Places) -> Home:
    return init(places.mktemp("fold") / "s", SETTINGS)


def folded(places: Places, then: Callable[[Home, Sequence[Frame]], None], frames: Sequence[Frame]) -> Home:
    home = new(places)
    then(home, frames)
    return home


def at_once(home: Home, frames: Sequence[Frame]) -> None:
    home.log.writer().append(frames)
    fold(home)


def one_by_one(home: Home, frames: Sequence[Frame]) -> None:
    writer = home.log.writer()
    for frame in frames:
        writer.append([frame])
        fold(home)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: Places) -> Home:
    """The facts folded all at once."""
    return folded(tmp_path_factory, at_once, facts())


def test_the_story_has_a_bit_of_everything(expected: Home) -> None:
    made = [(each.action, each.status) for each in Desk(home=expected).decisions()]
    assert made == [
        ("promote", "done"), ("retrain", "done"), ("notify", "done"), ("start_rollout", "done"),
        ("roll_back", "done"), ("start_rollout", "done"), ("promote", "done"), ("roll_back", "done"),
        ("notify", "done"), ("switch_loss", "done"),
    ]  # fmt: skip


def test_frame_by_frame_is_as_all_at_once(tmp_path_factory: Places, expected: Home) -> None:
    assert everything(folded(tmp_path_factory, one_by_one, facts())) == everything(expected)


def test_the_facts_have_a_bit_of_everything_too(expected: Home) -> None:
    with Desk(home=expected).books() as books:
        counts = books.counts(MODEL)
    assert (counts.corrections, counts.waiting) == (7, 1)
    assert {name.split("/")[0] for name in everything(expected)} == {
        "documents", "rows", "labels", "waiting", "units",
    }  # fmt: skip


CUTS = st.lists(
    st.tuples(st.integers(1, len(facts()) - 1), st.sampled_from(["stop", "commit", "fold"])), max_size=6
)


@settings(max_examples=15)
@given(cuts=CUTS)
def test_however_often_it_is_cut_off(
    tmp_path_factory: Places, expected: Home, cuts: list[tuple[int, str]]
) -> None:
    def interrupted(home: Home, frames: Sequence[Frame]) -> None:
        writer = home.log.writer()
        ends = [0, *sorted(at for at, _ in cuts), len(frames)]
        ways = [way for _, way in sorted(cuts)] + ["stop"]
        for (start, end), way in zip(pairwise(ends), ways, strict=True):
            if frames[start:end]:
                writer.append(frames[start:end])
            _cut_off(home, way, end - start)
        fold(home)

    assert everything(folded(tmp_path_factory, interrupted, facts())) == everything(expected)


def _cut_off(home: Home, way: str, frames: int) -> None:
    """Fold, or end where nothing may be kept of it."""
    if way == "stop":
        fold(home)
    elif frames and way == "commit":
        with pytest.raises(CutOff):
            fold(home, log=CutLog(home.segments.directory))
    elif frames:
        with pytest.raises(CutOff):
            fold(home, fail_at=1 + frames // 2)


@settings(max_examples=15)
@given(again=st.lists(st.tuples(st.integers(0, len(facts())), st.integers(1, 12)), min_size=1, max_size=4))
def test_whatever_is_sent_twice(
    tmp_path_factory: Places, expected: Home, again: list[tuple[int, int]]
) -> None:
    frames = facts()
    for at, length in again:
        frames = frames[:at] + frames[max(0, at - length) : at] + frames[at:]
    assert told(folded(tmp_path_factory, at_once, frames)) == told(expected)


def test_decisions_are_in_the_log_before_the_state_that_they_belong_to(tmp_path_factory: Places) -> None:
    home = new(tmp_path_factory)
    home.log.writer().append(facts())
    with pytest.raises(CutOff):
        fold(home, log=CutLog(home.segments.directory))
    assert Desk(home=home).decisions() == []
    logged = _logged(home)
    fold(home)
    assert [each.id for each in Desk(home=home).decisions()] == logged
    assert _logged(home) == logged * 2, "said again, the same, and folded once"
    fold(home)
    assert len(Desk(home=home).decisions()) == len(logged)


def _logged(home: Home) -> list[str]:
    frames = [entry.frame for entry in home.log.reader().read({})]
    return [
        str(id)
        for frame in frames
        if isinstance(frame, Frame) and frame.kind is Kind.DECISION
        for id in frame.batch.column("id").to_pylist()
    ]
