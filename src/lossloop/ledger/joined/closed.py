"""Parts of a table that do not lie in memory: whether they may have an id is known without reading them."""

from __future__ import annotations

from dataclasses import dataclass

from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.ledger.joined.filter import Filter, Prints


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """What is kept in memory of a part whose rows are not: 8 bytes a row, with its filter.

    To read a part again takes the better part of a second. So of ids that it does not have, which is all new
    ones, hardly any may make anybody look: one in some millions.
    """

    filter: Filter
    prints: Prints
    last_at: Micros
    last_block: Block
