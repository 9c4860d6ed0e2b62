"""What every log must do, a plugin's too: a check takes a maker of empty logs and raises AssertionError."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lossloop.ledger.base import Entry, Log, LogReader, Offsets, Position
from lossloop.ledger.facts import command, decisions, outcomes, tick
from lossloop.ledger.frames import Damage, Frame, Kind

Make = Callable[[], Log]


def check_frames_come_back_whole(make: Make) -> None:
    """What goes in comes out: kind, time, rows, and whose rows they are."""
    log, sent = make(), _one_of_each()
    writer = log.writer()
    for frame in sent[:2]:
        writer.append([frame])
    writer.append(sent[2:])
    writer.close()
    _assert_same(_frames(_all(log.reader())), sent, "the log gave back other frames")


def check_nothing_is_there_before_it_was_appended(make: Make) -> None:
    """A new log, a writer that wrote nothing and an append of nothing give nothing to read."""
    log = make()
    assert not _all(log.reader()), "a new log holds something"
    writer = log.writer()
    assert not _all(log.reader()), "a writer wrote without being asked"
    position = writer.append([])
    assert position.reached_by({}), "nothing was appended, but a reader at the start has not reached it"
    assert not _all(log.reader()), "an append of nothing left something to read"
    writer.close()


def check_reading_goes_on_where_it_stopped(make: Make) -> None:
    """From any entry's position on come all entries behind it, and no other."""
    log = make()
    _write(log, [_numbered(i) for i in range(5)])
    reader = log.reader()
    entries = _all(reader)
    assert len(entries) == 5, f"{len(entries)} of 5 frames came back"
    for index, entry in enumerate(entries, 1):
        rest = list(reader.read({entry.position.segment: entry.position.offset}))
        assert [each.position for each in rest] == [each.position for each in entries[index:]], (
            "reading from an entry's position did not go on behind it"
        )
    reader.close()


def check_a_position_is_reached_by_reading_to_it(make: Make) -> None:
    """An append's position is reached once all its frames were read, and not before."""
    log = make()
    writer = log.writer()
    positions = [writer.append([_numbered(i), _numbered(i)]) for i in range(3)]
    writer.close()
    offsets: dict[str, int] = {}
    entries = _all(log.reader())
    assert len(entries) == 6, f"{len(entries)} of 6 frames came back"
    for read, entry in enumerate(entries, 1):
        offsets[entry.position.segment] = entry.position.offset
        reached = [position.reached_by(offsets) for position in positions]
        assert reached == [read >= 2 * (i + 1) for i in range(3)], f"after {read} frames: {reached}"


def check_writers_do_not_disturb_each_other(make: Make) -> None:
    """Each writer has a segment of its own, in which its frames stand in its order."""
    log = make()
    writers = [log.writer() for _ in range(3)]
    for i in range(4):
        for j, writer in enumerate(writers):
            writer.append([_numbered(10 * j + i)])
    for writer in writers:
        writer.close()
    found: dict[str, list[int]] = {}
    for entry in _all(log.reader()):
        found.setdefault(entry.position.segment, []).append(_number(entry))
    wanted = [[10 * j + i for i in range(4)] for j in range(3)]
    assert sorted(found.values()) == wanted, f"three writers left {sorted(found.values())}"


def check_facts_come_in_the_order_of_their_receipt(make: Make) -> None:
    """Facts of several writers are merged by receipt time, however little is read at once."""
    log = make()
    one, other = log.writer(), log.writer()
    for times, writer in (([1, 4, 6, 7], one), ([2, 3, 5, 9], other)):
        for moment in times:
            writer.append([_numbered(moment)])
    one.close()
    other.close()
    for most in (1 << 20, 1):
        reader, seen = log.reader(), _Seen()
        while seen.take(reader, most=most):
            pass
        assert seen.numbers == [1, 2, 3, 4, 5, 6, 7, 9], f"facts came in the order {seen.numbers}"
        reader.close()


def check_a_segment_keeps_its_order_whatever_its_clock_says(make: Make) -> None:
    """A clock that was set back does not let a fact pass the one before it, from the same writer."""
    log = make()
    _write(log, [_numbered(number) for number in (5, 2, 9, 1)])
    assert [_number(entry) for entry in _all(log.reader())] == [5, 2, 9, 1]


def check_a_log_is_read_while_it_grows(make: Make) -> None:
    """A reader made before anything was written finds what is written later, in segments new and old."""
    log = make()
    reader, seen = log.reader(), _Seen()
    first = log.writer()
    for i in range(3):
        first.append([_numbered(i)])
        second = log.writer()
        second.append([_numbered(100 + i)])
        second.close()
        seen.take(reader)
        assert sorted(seen.numbers) == sorted([*range(i + 1), *range(100, 101 + i)]), (
            f"a reader of a growing log saw {seen.numbers}"
        )
    first.close()
    reader.close()


def check_small_reads_get_everything(make: Make) -> None:
    """However little is read at once, reading on gets every frame once: also one that is larger than that."""
    log = make()
    _write(log, [_numbered(i) for i in range(20)])
    reader, seen = log.reader(), _Seen()
    while seen.take(reader, most=1):
        assert len(seen.numbers) <= 20, "frames came again"
    assert seen.numbers == list(range(20)), f"small reads got {seen.numbers}"
    reader.close()


def check_readers_are_independent(make: Make) -> None:
    """What one reader has read is there for every other, as often as asked."""
    log = make()
    _write(log, [_numbered(i) for i in range(3)])
    one, other = log.reader(), log.reader()
    assert (
        [_number(e) for e in _all(one)]
        == [_number(e) for e in _all(one)]
        == [_number(e) for e in _all(other)]
    )
    one.close()
    assert [_number(e) for e in _all(other)] == [0, 1, 2], "closing one reader took facts from another"
    other.close()


def check_closing_twice_is_harmless(make: Make) -> None:
    """Whoever closes to be sure does no harm, and what was appended stays."""
    log = make()
    writer, reader = log.writer(), log.reader()
    writer.append([_numbered(7)])
    list(reader.read({}))
    for _ in range(2):
        writer.close()
        reader.close()
    assert [_number(entry) for entry in _all(log.reader())] == [7]


CHECKS = (
    check_frames_come_back_whole,
    check_nothing_is_there_before_it_was_appended,
    check_reading_goes_on_where_it_stopped,
    check_a_position_is_reached_by_reading_to_it,
    check_writers_do_not_disturb_each_other,
    check_facts_come_in_the_order_of_their_receipt,
    check_a_segment_keeps_its_order_whatever_its_clock_says,
    check_a_log_is_read_while_it_grows,
    check_small_reads_get_everything,
    check_readers_are_independent,
    check_closing_twice_is_harmless,
)


class _Seen:
    """A reader's progress: how far it is, and the numbers of the frames that it was given."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}
        self.numbers: list[int] = []

    def take(self, reader: LogReader, most: int = 1 << 20) -> int:
        """Read once; return how many frames came."""
        entries = list(reader.read(self._offsets, most=most))
        self._offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        self.numbers += [_number(entry) for entry in entries]
        return len(entries)


def _one_of_each() -> list[Frame]:
    batch = outcomes(["a", "b"], [1.0, None], [3, 4], model="m")
    return [
        Frame(kind=Kind.OUTCOME, time=5, batch=batch),
        command("id", "freeze", {"on": True}, now=6),
        decisions([("m/0", "{}"), ("m/1", "[1]")], now=7),
        tick(8, now=-1),
        Frame(kind=Kind.PREDICTION, time=9, batch=batch.slice(0, 0)),
    ]


def _numbered(number: int) -> Frame:
    return tick(number, now=number)


def _number(entry: Entry) -> int:
    assert isinstance(entry.frame, Frame), f"{entry.frame} in a log that nobody damaged"
    return entry.frame.time


def _write(log: Log, frames: Sequence[Frame]) -> Position:
    writer = log.writer()
    positions = [writer.append([frame]) for frame in frames]
    writer.close()
    return positions[-1]


def _all(reader: LogReader, after: Offsets | None = None) -> list[Entry]:
    return list(reader.read(after or {}))


def _frames(entries: Sequence[Entry]) -> list[Frame | Damage]:
    return [entry.frame for entry in entries]


def _assert_same(found: Sequence[Frame | Damage], wanted: Sequence[Frame], words: str) -> None:
    assert len(found) == len(wanted), f"{words}: {len(found)} of {len(wanted)}"
    for one, other in zip(found, wanted, strict=True):
        assert isinstance(one, Frame), f"{words}: damage"
        assert (one.kind, one.time) == (other.kind, other.time), f"{words}: {one.kind}, {one.time}"
        assert one.batch.equals(other.batch, check_metadata=True), f"{words}: {one.kind} has other rows"
