"""Ray Serve with the model: run by Ray's own environment, as ``python ray_host.py MODEL PORT``."""

from __future__ import annotations

import sys
import time
from typing import Any

import joblib
import ray
from ray import serve


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Host:
    """Its contract, with nothing added."""

    def __init__(self, path: str) -> None:
        self.model = joblib.load(path)

    async def __call__(self, request: Any) -> dict[str, Any]:
        """The probability of 1."""
        rows = (await request.json())["rows"]
        return {"y_pred": self.model.predict_proba(rows)[:, 1].tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
    serve.run(Host.bind(sys.argv[1]), route_prefix="/")
    while True:
        time.sleep(3600)
