"""The Open Inference Protocol (V2) over one object that knows no transport."""

from lossloop.serve.inference.describing import EXTENSIONS, ModelMetadata
from lossloop.serve.inference.serving import Entry, Inference, words_of
from lossloop.serve.inference.tensors import Reply, Request, Tensor, Wanted

__all__ = [
    "EXTENSIONS",
    "Entry",
    "Inference",
    "ModelMetadata",
    "Reply",
    "Request",
    "Tensor",
    "Wanted",
    "words_of",
]
