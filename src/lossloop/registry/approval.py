"""Who answers for a version that brings code: it stands in the version, and is checked at each load."""

from __future__ import annotations

from lossloop.core.errors import InputError
from lossloop.core.records import Record


class Approval(Record, frozen=True):
    """An admin's name, or a signature.

    Raises:
        InputError: It is neither, or half of one.
    """

    by: str = ""
    """The name of the admin's token with which it was registered."""
    key: str = ""
    """The id of the key that signed it."""
    signature: str = ""
    """Ed25519 over the digests of artifact and manifest, base64."""

    def __post_init__(self) -> None:
        if bool(self.key) != bool(self.signature) or not (self.by or self.key):
            raise InputError(
                "an approval has a key and its signature, or the name of an admin", field="approval"
            )

    @property
    def words(self) -> str:
        """Who answers for it."""
        return f"signed with key {self.key}" if self.key else f"registered by {self.by}, an admin"
