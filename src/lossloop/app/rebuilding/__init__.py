"""Rebuilding: all derived state deleted and made again from the facts, and compared with what was decided.

Decisions and actions taken are facts. A rebuild repeats none of them: what the log says was decided is not
logged again, and an effect that the log says was carried out is not pending again.
"""

from lossloop.app.rebuilding.base import Rebuilt
from lossloop.app.rebuilding.rebuilder import rebuild

__all__ = ["Rebuilt", "rebuild"]
