"""Rows per second of CPU: `lossloop predict` beside ONNX Runtime alone; the same file, the same model.

Both read Parquet and write Parquet. Lossloop also checks each row, keeps it in the ledger with its features,
durably, and folds it.

    python -m benchmarks.serving.batch [--rows 2000000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

FEATURES = 8
PLAIN = """
import sys, numpy as np, onnxruntime, pyarrow as pa, pyarrow.parquet as pq
model, source, target = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [each.name for each in session.get_inputs()]
writer = None
for batch in pq.ParquetFile(source).iter_batches(batch_size=50_000):
    feeds = {name: batch.column(name).to_numpy().astype(np.float32)[:, None] for name in names}
    (found,) = session.run(None, feeds)
    out = pa.RecordBatch.from_pydict({"id": batch.column("id"), "y_pred": found[:, 0].astype(np.float64)})
    writer = writer or pq.ParquetWriter(target, out.schema, compression="zstd")
    writer.write_batch(out)
writer.close()
"""
POLICY = "model: m\ntask: binary\nloss: log_loss(cap=5)\nlabels: {mature_after: 1d}\n"


def model() -> bytes:
    """A logistic regression."""
    names = [f"f{place}" for place in range(FEATURES)]
    weights = np.linspace(-1, 1, FEATURES, dtype=np.float32)[:, None]
    graph = helper.make_graph(
        [
            helper.make_node("Concat", names, ["row"], axis=1),
            helper.make_node("MatMul", ["row", "weights"], ["sum"]),
            helper.make_node("Sigmoid", ["sum"], ["y_pred"]),
        ],
        "m",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in names],
        [helper.make_tensor_value_info("y_pred", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(weights, "weights")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def rows(path: Path, count: int) -> None:
    """A file of rows."""
    chance = np.random.default_rng(1)
    columns = {f"f{place}": chance.normal(size=count) for place in range(FEATURES)}
    table = pa.table({"id": pa.array(np.arange(count)).cast(pa.string()), **columns})
    pq.write_table(table, path, row_group_size=200_000)


def measured(*command: str) -> tuple[float, float]:
    """Seconds of CPU of a command, and its memory at most, in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure both, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "m.onnx").write_bytes(model())
        (folder / "p.yaml").write_text(POLICY)
        features = [{"name": f"f{each}"} for each in range(FEATURES)]
        (folder / "v.json").write_text(json.dumps({"runtime": "onnx", "features": features}))
        rows(folder / "in.parquet", count)
        state, ours = str(folder / "s"), [sys.executable, "-m", "lossloop"]
        for command in (
            ["init", "--state", state],
            ["policy", str(folder / "p.yaml"), "--state", state],
            ["register", "m", str(folder / "v.json"), "--artifact", str(folder / "m.onnx"), "--state", state],
            ["promote", "m", "1", "--state", state],
        ):
            subprocess.run([*ours, *command], check=True, stdout=subprocess.DEVNULL)
        named = (str(folder / "m.onnx"), str(folder / "in.parquet"), str(folder / "plain.parquet"))
        plain = measured(sys.executable, "-c", PLAIN, *named)
        batch = measured(
            *ours, "predict", "m", "--input", str(folder / "in.parquet"), "--output",
            str(folder / "out.parquet"), "--id", "id", "--state", state,
        )  # fmt: skip
        one, other = (pq.read_table(folder / name) for name in ("plain.parquet", "out.parquet"))
        same = one["y_pred"].equals(other["y_pred"]) and one["id"].equals(other["id"])
    print(
        json.dumps(
            {
                "rows": count,
                "same_answers": same,
                "onnxruntime": {"cpu_s": plain[0], "rows_per_cpu_s": round(count / plain[0]), "mb": plain[1]},
                "lossloop": {"cpu_s": batch[0], "rows_per_cpu_s": round(count / batch[0]), "mb": batch[1]},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
