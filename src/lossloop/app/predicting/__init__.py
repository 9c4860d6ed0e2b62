"""Batches: a version answers the rows of files, and every answer is in the ledger."""

from lossloop.app.predicting.asking import Order
from lossloop.app.predicting.batching import predict_batch
from lossloop.app.predicting.forgetting import forget_batches
from lossloop.app.predicting.outputs import Output, open_output
from lossloop.app.predicting.places import Input, inputs
from lossloop.app.predicting.progress import Batch, all_batches
from lossloop.app.predicting.reading import Naming
from lossloop.app.predicting.running import Report

__all__ = [
    "Batch",
    "Input",
    "Naming",
    "Order",
    "Output",
    "Report",
    "all_batches",
    "forget_batches",
    "inputs",
    "open_output",
    "predict_batch",
]
