"""The loop: facts in, decisions out.

It is a fold. The same facts under the same policy give the same state and the same decisions, bit for bit,
whenever and however often they are folded; that makes a crash harmless and a backtest possible.

    for every frame of the log, in order:
        1. time moves on to it
        2. what is due by then is judged: blocks of arrivals that are over, then what has reached its judging
           age, rows first and then whole blocks, in prediction order
        3. a verdict is answered at once: a rollout moves, an alarm is followed, as far as the policy allows
        4. the frame's facts are taken: predictions and outcomes meet, commands are obeyed, and what watches
           look at on arrival is shown to them
        5. what dashboards show follows the outcomes as they come
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from lossloop.act.rollout import Rollout, Stage, propose
from lossloop.act.settings import Settings
from lossloop.app.acting import Acting
from lossloop.app.answers import count_answers
from lossloop.app.arriving import closed, judge_arrivals, take_arrivals
from lossloop.app.books import Books, Cursor
from lossloop.app.commands import obey
from lossloop.app.experimenting import judge_experiment, move_experiment, moves
from lossloop.app.experiments import experiment_of
from lossloop.app.gating import judge_gates
from lossloop.app.heldout import is_over, judge_holdout, renew
from lossloop.app.holdouts import held_out
from lossloop.app.judging import Lens
from lossloop.app.kept import Kept
from lossloop.app.reasons import count_reasons
from lossloop.app.rolling import judge_canary, judge_shadow, move
from lossloop.app.showing import show
from lossloop.app.watches import by_rows, needs_rows
from lossloop.app.watching import judge_outcomes
from lossloop.core.calendar import Block, Int64
from lossloop.core.clock import Micros
from lossloop.core.records import Decision
from lossloop.ledger.facts import OF_A_MODEL, PREDICTIONS, is_history, micros, model_of
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Rows, history_of
from lossloop.ledger.store import Store


class Loop:
    """Folds frames into a store; the caller's transaction makes each fold whole or nothing.

    Predictions are kept in memory as well: after an error in a fold, make another loop.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._replays = settings.clock == "event"
        self._kept = Kept(store, Keys(settings.secret))
        self.books = Books(store)

    def fold(self, frame: Frame, *, segment: str = "", start: int = 0) -> list[Decision]:
        """Fold one frame, which begins behind `start` in a segment; return what was decided because of it."""
        now = self._move_clock(frame)
        decided = [decision for model in self.books.models() for decision in self._judge(model, now)]
        if frame.kind is Kind.COMMAND:
            self._kept.flush()  # a command may look at all that came
            decided += obey(frame, self.books, self._acting, now=now, kept=self._kept)
        elif frame.kind in OF_A_MODEL:
            decided += self._take(frame, now, segment=segment, start=start)
        return decided

    def flush(self) -> None:
        """Write what was only kept in memory; the transaction is about to commit."""
        self._kept.flush()

    def prepare(self) -> bool:
        """Do a little of what the next fact would otherwise wait for; False where nothing is left to do."""
        return self._kept.prepare(self.books.models())

    # 1. Time.

    def _move_clock(self, frame: Frame) -> Micros:
        """Where time stands before the frame's facts are taken; it never goes back.

        In a replay that is the frame's first event: every earlier fact has been taken by then, so what is
        judged has all the outcomes that had come by its judging age.
        """
        now = max(self.books.now(), moment_of(frame, replays=self._replays))
        if now != self.books.now():
            self.books.documents.put("clock", "now", now)
        return now

    def something_is_due(self, now: Micros) -> bool:
        """Whether time alone would change anything: then a tick is worth a place in the log."""
        return any(self._is_due(model, now) for model in self.books.models())

    def _is_due(self, model: str, now: Micros) -> bool:
        lens, rollout = self.books.lens(model), self._running_rollout(model)
        if rollout is not None and not rollout.told and propose(rollout, None, now=now):
            return True
        if moves(self.books, model, now) or is_over(self.books.documents, model, now):
            return True
        if self._absent(model, lens, now) is not None:
            return True
        if next(closed(self.books, model, lens, now), None) is not None:
            return True
        if self._judges_rows(lens) and self._ripe(model, lens, now, most=1):
            return True
        return next(self._closed_blocks(model, lens, now), None) is not None

    # An outcome that did not come, where that is what it means.

    def _absent(self, model: str, lens: Lens, now: Micros) -> tuple[int, Micros] | None:
        """Behind which row outcomes are absent, and by when their predictions came; None where none are."""
        labels, table = lens.policy.labels, self._kept.join(model).table
        if labels.absent_means is None or labels.after is None:
            return None
        after, until = self.books.cursor(model).absent, now - labels.after
        return (after, until) if len(table.matured(after=after, until=until, most=1)) else None

    def _take_absence(self, model: str, lens: Lens, now: Micros) -> None:
        while (absent := self._absent(model, lens, now)) is not None:
            (after, until), labels = absent, lens.policy.labels
            taken, reached = self._kept.join(model).take_absence(
                after=after, until=until, age=labels.after or 0, value=labels.absent_means or 0.0
            )
            self._pass(model, absent=reached)
            self.books.add_counts(model, absent=taken.outcomes)
            show(self.books.documents, model, lens, taken)

    # 2. What has reached its judging age. 3. is in `rolling` and `watching`.

    def _judge(self, model: str, now: Micros) -> list[Decision]:
        acting, lens = self._acting(model, now), self.books.lens(model)
        self._take_absence(model, lens, now)
        judge_arrivals(acting, lens)
        self._judge_rows(acting, lens)
        for block in self._closed_blocks(model, lens, now):
            self._judge_block(acting, lens, block)
        rollout = self._running_rollout(model)
        if rollout is not None:
            move(acting, rollout, None)
        move_experiment(acting)
        if is_over(self.books.documents, model, now):
            renew(acting)
        return acting.decided

    def _judge_rows(self, acting: Acting, lens: Lens) -> None:
        model = acting.model
        if not self._judges_rows(lens):
            return
        rows = self._ripe(model, lens, acting.now)
        if not len(rows):
            return
        self._pass(model, seq=int(rows.seq[-1]))
        rollout, experiment = self._running_rollout(model), experiment_of(self.books.documents, model)
        if rollout is not None and rollout.stage is Stage.CANARY:
            judge_canary(acting, self._kept.units(model, "canary", rollout.id), lens, rollout, rows)
        if experiment is not None and experiment.running:
            units = self._kept.units(model, "experiment", f"experiment-{experiment.id}")
            judge_experiment(acting, units, lens, experiment, rows)
        if (run := held_out(self.books.documents, model)) is not None:
            units = self._kept.units(model, "holdout", f"holdout-{run.number:06d}")
            judge_holdout(acting, units, lens, run, rows)
        for name, watch in lens.policy.watches.items():
            if by_rows(watch):
                judge_outcomes(acting, lens, name, rows, None)

    def _judges_rows(self, lens: Lens) -> bool:
        """Whether anything judges rows: a comparison of arms, or a watch whose promise counts outcomes."""
        model = lens.policy.model
        rollout, experiment = self._running_rollout(model), experiment_of(self.books.documents, model)
        return (
            (rollout is not None and rollout.stage is Stage.CANARY)
            or (experiment is not None and experiment.running)
            or held_out(self.books.documents, model) is not None
            or needs_rows(lens)
        )

    def _ripe(self, model: str, lens: Lens, now: Micros, most: int = 100_000) -> Rows:
        """Rows that have reached their judging age and were not judged as rows yet."""
        age = lens.policy.labels.mature_after
        return self._kept.join(model).table.matured(
            after=self.books.cursor(model).seq, until=now - age, most=most
        )

    def _closed_blocks(self, model: str, lens: Lens, now: Micros) -> Iterator[Block]:
        """Blocks of which every prediction has reached its judging age, oldest first."""
        while True:
            block = self._kept.join(model).table.first_block_after(self.books.cursor(model).block)
            if block is None or lens.policy.calendar.end(block) + lens.policy.labels.mature_after > now:
                return
            yield block
            self._pass(model, block=block)

    def _judge_block(self, acting: Acting, lens: Lens, block: Block) -> None:
        rows = self._kept.join(acting.model).table.block(block)
        for name, watch in lens.policy.watches.items():
            if not by_rows(watch):
                judge_outcomes(acting, lens, name, rows, block)
        rollout = self._running_rollout(acting.model)
        if rollout is not None and rollout.stage is Stage.SHADOW:
            judge_shadow(acting, lens, rollout, rows)

    # 4. The frame's facts.

    def _take(self, frame: Frame, now: Micros, *, segment: str, start: int) -> list[Decision]:
        model = model_of(frame.batch)
        if model not in self.books.models() or not frame.batch.num_rows:
            return []  # the servers refuse such facts; one from elsewhere must not stop the loop
        lens, at, join = self.books.lens(model), self._arrival(frame, now), self._kept.join(model)
        history = is_history(frame.batch) and not self._replays
        if frame.kind in PREDICTIONS:
            name, table = (history_of(model), join.history) if history else (model, join.table)
            self._kept.places(name).note(len(table), segment, start)
            taken = join.take_predictions(
                frame.batch, at=at, calendar=lens.policy.calendar, history=history,
                slices=None if history else self._kept.slices(lens.policy, frame),
            )  # fmt: skip
        else:
            taken = join.take_outcomes(frame.batch, at=at, age=lens.policy.labels.mature_after)
        self.books.add_counts(
            model, predictions=taken.predictions, outcomes=taken.outcomes, corrections=taken.corrections,
            waiting=taken.waiting, repeats=taken.repeats, conflicts=taken.conflicts,
        )  # fmt: skip
        count_reasons(self.books.documents, model, taken.missing)
        show(self.books.documents, model, lens, taken)
        if frame.kind in PREDICTIONS:
            count_answers(self.books.documents, model, frame.batch, taken.arrived)
        if not taken.arrived or history:
            return []
        acting = self._acting(model, now)
        take_arrivals(acting, lens, frame.batch, taken.arrived)
        rollout = self._running_rollout(model)
        if rollout is not None and rollout.stage is Stage.CANARY and rollout.plan.gates:
            units = self._kept.units(model, "gates", f"{rollout.id}@arrived")
            judge_gates(acting, units, rollout, frame.batch, taken.arrived)
        return acting.decided

    def _arrival(self, frame: Frame, now: Micros) -> Int64:
        """When each row came, by the clock that judges; history came when its events were."""
        if self._replays or is_history(frame.batch):
            return micros(frame.batch.column("time"))
        return np.full(frame.batch.num_rows, max(now, frame.time), dtype=np.int64)

    # What the steps share.

    def _acting(self, model: str, now: Micros) -> Acting:
        last = len(self._kept.join(model).table)
        return Acting(self.books, model, now=now, last_seq=last, salt=self._settings.salt)

    def _running_rollout(self, model: str) -> Rollout | None:
        rollout = self.books.rollout(model)
        return rollout if rollout is not None and rollout.running else None

    def _pass(self, model: str, **reached: int) -> None:
        cursor: Cursor = msgspec.structs.replace(self.books.cursor(model), **reached)
        self.books.documents.put("cursor", model, cursor)


def moment_of(frame: Frame, *, replays: bool) -> Micros:
    """To when a frame moves time: to its receipt, or in a replay to its first event; 0 where it has none."""
    if not replays:
        return frame.time
    timed = frame.kind in {*OF_A_MODEL, Kind.TICK} and frame.batch.num_rows
    return int(micros(frame.batch.column("time")).min()) if timed else 0
