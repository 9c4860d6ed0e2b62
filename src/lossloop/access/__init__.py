"""Who may do what. For now one token, made at `init`, that may do everything."""

from lossloop.access.tokens import TokenBook, bearer

__all__ = ["TokenBook", "bearer"]
