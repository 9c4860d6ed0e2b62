"""Artifacts: files named by the digest of their bytes, so that a version's artifact can never change."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from lossloop.core.errors import StateError, StorageFull
from lossloop.core.ids import digest, new_id

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Artifacts:
    """A directory of artifacts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, data: bytes) -> str:
        """Store bytes durably; return their digest. The same bytes again mend a file that was changed.

        Raises:
            StorageFull: The disk takes no more; nothing is left behind.
            StateError: The directory cannot be written to.
        """
        name = digest(data)
        path = self.directory / name
        try:
            if not path.exists() or path.read_bytes() != data:
                self.directory.mkdir(parents=True, exist_ok=True)
                _replace(path, data)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull(
                    f"no room for {len(data)} bytes in {self.directory}; free some space"
                ) from error
            raise StateError(f"cannot write to {self.directory}: {error.strerror}") from error
        return name

    def get(self, name: str) -> bytes:
        """The bytes behind a digest.

        Raises:
            StateError: The file is missing, or its bytes are not those that were registered.
        """
        try:
            data = (self.directory / name).read_bytes()
        except FileNotFoundError:
            raise StateError(
                f"artifact {name[:12]} is not in {self.directory}; register the version again"
            ) from None
        except OSError as error:
            raise StateError(
                f"artifact {name[:12]} cannot be read from {self.directory}: {error.strerror}"
            ) from error
        if digest(data) != name:
            raise StateError(f"artifact {name[:12]} was changed on disk; register the version again")
        return data


def _replace(path: Path, data: bytes) -> None:
    """Put bytes under a name, whole or not at all, and the name on disk too."""
    draft = path.with_name(f".{new_id()}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
