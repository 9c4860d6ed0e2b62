"""Models converted to ONNX, or made smaller, and held against what they were made of."""

from lossloop.app.converting.asking import convert
from lossloop.app.converting.base import Converted, Cost, Parity, Shrink, Worst

__all__ = ["Converted", "Cost", "Parity", "Shrink", "Worst", "convert"]
