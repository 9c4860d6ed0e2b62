"""Explanations: what each feature contributed to a prediction, and to what it is compared."""

from lossloop.serve.explaining.background import background
from lossloop.serve.explaining.base import Explanation, Part, number_of, parts
from lossloop.serve.explaining.sampling import sampled

__all__ = ["Explanation", "Part", "background", "number_of", "parts", "sampled"]
