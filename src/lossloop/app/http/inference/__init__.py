"""The Open Inference Protocol (V2) over HTTP: JSON and binary tensors under /v2."""

from lossloop.app.http.inference.door import InferenceDoor
from lossloop.app.http.inference.endpoints import INFERENCE_ROUTES

__all__ = ["INFERENCE_ROUTES", "InferenceDoor"]
