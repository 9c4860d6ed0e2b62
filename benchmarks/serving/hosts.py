"""The servers: what each needs installed, how it is started, and what it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.models import FEATURES

_HOSTS = Path(__file__).with_name("hosts")
_COMMAND = (sys.executable, "-m", "lossloop")
MODEL = "bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Where a server is to run.

    `python` is the interpreter of the server's own environment, `model` the fitted model without its ending,
    `folder` an empty place of its own.
    """

    python: Path
    model: Path
    folder: Path
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """How to start a server."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A server: `needs` is installed into its environment, nothing where it is ours."""

    needs: tuple[str, ...]
    path: str
    body: Callable[[list[list[float]]], object]
    prepare: Callable[[Setting], Start]


def tensors(rows: list[list[float]]) -> object:
    """The Open Inference Protocol's body."""
    values = [value for row in rows for value in row]
    shape = [len(rows), len(FEATURES)]
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP64", "data": values}]}


def _plain(rows: list[list[float]]) -> object:
    return {"rows": rows}


def _lossloop(setting: Setting) -> Start:
    """A champion with durable logging on, as ever."""
    state = setting.folder / "state"
    policy, manifest = setting.folder / "policy.yaml", setting.folder / "manifest.json"
    policy.write_text(f"model: {MODEL}\ntask: binary\nloss: log_loss(cap=5)\nlabels: {{mature_after: 1h}}\n")
    features = [{"name": name} for name in FEATURES]
    manifest.write_text(json.dumps({"runtime": "onnx", "features": features}))
    artifact = str(setting.model.with_suffix(".onnx"))
    _lossloop_command("init", str(state))
    _lossloop_command("policy", str(policy), "--state", str(state))
    _lossloop_command("register", MODEL, str(manifest), "--artifact", artifact, "--state", str(state))
    _lossloop_command("promote", MODEL, "1", "--state", str(state))
    token = (state / "token").read_text().strip()
    return Start(
        command=(*_COMMAND, "up", "--port", str(setting.port), "--state", str(state)),
        headers={"Authorization": f"Bearer {token}"},
    )


def _lossloop_command(*arguments: str) -> None:
    subprocess.run([*_COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL)


def _mlserver(setting: Setting) -> Start:
    joblib = str(setting.model.with_suffix(".joblib"))
    (setting.folder / "settings.json").write_text(
        json.dumps({
            "host": "127.0.0.1", "http_port": setting.port, "grpc_port": setting.port + 1,
            "metrics_port": setting.port + 2, "debug": False, "access_log": False,
                "parallel_workers": 0,  # in one process: its fastest, and its pool fails with today's uvloop
        })
    )  # fmt: skip
    settings = {"name": MODEL, "implementation": "mlserver_sklearn.SKLearnModel"}
    (setting.folder / "model-settings.json").write_text(
        json.dumps({**settings, "parameters": {"uri": joblib, "version": "1"}})
    )
    return Start(command=(str(setting.python.with_name("mlserver")), "start", "."))


def _probabilities(rows: list[list[float]]) -> object:
    asked = tensors(rows)
    assert isinstance(asked, dict)
    return {**asked, "outputs": [{"name": "predict_proba"}]}


def _bentoml(setting: Setting) -> Start:
    command = (str(setting.python.with_name("bentoml")), "serve", "bentoml_host:Host")
    return Start(
        command=(*command, "--host", "127.0.0.1", "--port", str(setting.port), "--working-dir", str(_HOSTS)),
        environment={
            "BENCH_MODEL": str(setting.model.with_suffix(".joblib")), "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(setting.folder),
        },
    )  # fmt: skip


def _litserve(setting: Setting) -> Start:
    joblib, script = str(setting.model.with_suffix(".joblib")), str(_HOSTS / "litserve_host.py")
    return Start(command=(str(setting.python), script, joblib, str(setting.port)))


def _ray(setting: Setting) -> Start:
    joblib, script = str(setting.model.with_suffix(".joblib")), str(_HOSTS / "ray_host.py")
    return Start(
        command=(str(setting.python), script, joblib, str(setting.port)),
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
    )


def _mlflow(setting: Setting) -> Start:
    joblib, folder = str(setting.model.with_suffix(".joblib")), str(setting.folder / "model")
    subprocess.run([str(setting.python), str(_HOSTS / "mlflow_host.py"), joblib, folder], check=True)
    command = (str(setting.python.with_name("mlflow")), "models", "serve", "-m", folder, "--env-manager")
    return Start(
        command=(*command, "local", "--host", "127.0.0.1", "--port", str(setting.port), "--workers", "1"),
        environment={"PATH": f"{setting.python.parent}:/usr/bin:/bin"},
    )


def _inputs(rows: list[list[float]]) -> object:
    return {"inputs": rows}


HOSTS: Mapping[str, Host] = {
    "lossloop": Host(needs=(), path=f"/v2/models/{MODEL}/infer", body=tensors, prepare=_lossloop),
    "mlserver": Host(
        needs=("mlserver", "mlserver-sklearn"), path=f"/v2/models/{MODEL}/infer", body=_probabilities,
        prepare=_mlserver,
    ),
    "bentoml": Host(needs=("bentoml", "scikit-learn"), path="/predict", body=_plain, prepare=_bentoml),
    "mlflow": Host(needs=("mlflow",), path="/invocations", body=_inputs, prepare=_mlflow),
    "litserve": Host(needs=("litserve", "scikit-learn"), path="/predict", body=_plain, prepare=_litserve),
    "ray": Host(needs=("ray[serve]", "scikit-learn"), path="/", body=_plain, prepare=_ray),
}  # fmt: skip
