"""How often to retrain on the flights of the demo: a target that trains in seconds.

After `lossloop demo --keep`, which leaves `lossloop-demo` behind, add to the `retrain` of its `settings.yaml`
`"flights:quick": "benchmarks.judges.retraining:train"`, and from the root of the repository:

    lossloop check retraining flight-delay --target flights:quick --first 14 --every 7 --every 28 --every 84
    --state lossloop-demo

The target is the demo's model on the last 56 days, January and February among them; the reference is measured
on the last 14 days by a model that has not seen them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop import losses
from lossloop.act.retrain import Trained, TrainingData
from lossloop.app.demo import flights
from lossloop.app.demo.target import FIRST, LAST, _columns, _from_ledger
from lossloop.app.demo.train import fit, inputs, reference, to_onnx
from lossloop.core.clock import DAY

SPAN, HELD_OUT = 56 * DAY, 14 * DAY


def train(data: TrainingData) -> Trained:
    """The demo's model of the last eight weeks."""
    winter = _columns(flights.between(flights.load(), FIRST, LAST))
    table = pa.concat_tables([winter, _columns(_from_ledger(data.rows))])
    recent = table.filter((pc.field("time") > data.at - SPAN) & pc.field("late").is_valid())
    time = recent["time"].to_numpy()
    known = time <= data.at - HELD_OUT
    late, (numbers, categories) = recent["late"].to_numpy(), inputs(recent)
    older = fit(numbers[known], categories[known], late[known])
    lost = np.asarray(
        losses.parse(data.loss)(late[~known], older.predict(numbers[~known], categories[~known]))
    )
    days = flights.CALENDAR.blocks(time[~known]) // DAY
    return Trained(
        artifact=to_onnx(fit(numbers, categories, late)), runtime="onnx", features=flights.FEATURES,
        reference=reference(lost, days, loss_name=data.loss), lineage={"rows": len(late)},
    )  # fmt: skip
