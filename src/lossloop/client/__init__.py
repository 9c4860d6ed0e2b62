"""What a user's own service imports: light, and it never needs the rest of Lossloop to be running in it."""

from lossloop.client.client import Client, Refused, Unreachable

__all__ = ["Client", "Refused", "Unreachable"]
