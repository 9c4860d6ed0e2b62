"""Scrubbing: what was deleted from the state database leaves its bytes, too.

SQLite only marks the pages of rows that were deleted or replaced as free; what they said stands there until
something else is written to them.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from lossloop.core.errors import InUse, StorageFull


def scrub(path: Path) -> None:
    """Write a state database anew, with what it holds and nothing else; nobody may have it open.

    Killed on the way it is as it was, and may be scrubbed again.

    Raises:
        InUse: Somebody reads it.
        StorageFull: There is no room for a second one.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(5000)
        connection.pragma("synchronous", "FULL")
        connection.execute("VACUUM")
        # The file itself changes only as the write-ahead log is copied into it.
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        raise InUse(f"{path} is being read, so what was erased stands in it still; do it again") from None
    except apsw.FullError:
        raise StorageFull(f"no room to write {path} anew; free some space and do it again") from None
    finally:
        connection.close()
