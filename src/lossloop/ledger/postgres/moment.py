"""All facts of one moment, while others are added: what every segment held when somebody looked.

A fact that another one led to was committed after that one could be seen. So a moment never holds an effect
without its cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lossloop.core.clock import Micros
from lossloop.ledger.base import Offsets
from lossloop.ledger.postgres.log import PostgresReader
from lossloop.ledger.postgres.session import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Where each segment ended at a time of the database's clock."""

    time: Micros
    ends: Mapping[str, int]


def moment_of(session: Session) -> Moment:
    """This moment: all that was committed before its time is in it."""
    time = int(session.rows("moment")[0][0])
    return Moment(time=time, ends={segment: end for segment, _, end in session.rows("segments")})


def weight_of(session: Session) -> int:
    """Bytes of all facts in a ledger, about."""
    return int(session.rows("weight")[0][0])


class MomentReader(PostgresReader):
    """Reads what a moment holds, and nothing that was appended since.

    Args:
        session: Closed with the reader.
        moment: Of the same ledger.
    """

    def __init__(self, session: Session, moment: Moment) -> None:
        super().__init__(session)
        self._moment = moment

    def _ends(self) -> Iterable[tuple[str, int]]:
        return self._moment.ends.items()

    def _read_ahead(self, after: Offsets) -> None:
        super()._read_ahead(after)
        for segment, known in self._heads.items():
            while known.heads and known.heads[-1].number > self._moment.ends[segment]:
                known.heads.pop()
