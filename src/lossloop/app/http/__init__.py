"""The HTTP door: JSON in and out, one table of endpoints, one shape of errors."""

from lossloop.app.http.endpoints import ROUTES, Endpoint
from lossloop.app.http.server import create

__all__ = ["ROUTES", "Endpoint", "create"]
