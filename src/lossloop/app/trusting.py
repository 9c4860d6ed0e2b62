"""Whether a version's own code may be run: an admin registered it, or a key that is trusted signed it.

It is asked when a version is registered and again at each load, so a key that was revoked stops what it
signed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from lossloop.access import Caller, Right, bearer
from lossloop.access.keys import KeyBook
from lossloop.app.home import Home
from lossloop.core.errors import Forbidden
from lossloop.registry import Approval, Manifest, Version
from lossloop.serve.runtimes import Permit
from lossloop.serve.transforms import brings_code

TOKEN = "LOSSLOOP_TOKEN"
"""The variable that holds a token, in place of the owner's."""
SIGNED_ONLY = frozenset({"joblib", "pickle"})
"""What nobody can look into before it runs is refused unless it is signed, whoever registers it."""


class Trust:
    """Gives permits.

    Args:
        keys: The trusted keys.
        interpreters: Paths by the names that a manifest may use, from the settings.
    """

    def __init__(self, keys: KeyBook, interpreters: Mapping[str, str]) -> None:
        self._keys = keys
        self._interpreters = interpreters

    def permit(self, version: Version) -> Permit | None:
        """What a version is loaded with; None where it brings no code.

        Raises:
            Forbidden: Nobody answers for it any more; says why.
        """
        return self.allow(version.manifest, version.approval, version.name)

    def allow(self, manifest: Manifest, approval: Approval | None, name: str) -> Permit | None:
        """The same for one that is to be registered."""
        if not brings_code(manifest):
            return None
        if approval is not None and approval.key:
            self._keys.check(approval.key, approval.signature, manifest.artifact, manifest.digest)
        elif approval is None or manifest.runtime in SIGNED_ONLY:
            raise Forbidden(refusal(manifest.runtime))
        return Permit(name=name, interpreters=self._interpreters)


def trust_of(home: Home) -> Trust:
    """The trust of a state directory."""
    return Trust(KeyBook(home.path), home.settings().interpreters)


def approved(manifest: Manifest, signed: Approval | None, caller: Caller, model: str) -> Approval | None:
    """Who answers for a version that somebody registers; None where nobody has to.

    Raises:
        Forbidden: It brings code, and neither is it signed nor is the caller an admin.
    """
    if not brings_code(manifest):
        return None
    if signed is not None:
        # A name is not taken from who sends one: it is that of a token that was shown.
        return Approval(key=signed.key, signature=signed.signature)
    if manifest.runtime in SIGNED_ONLY or not caller.may(Right.ADMIN) or not caller.meets(model):
        raise Forbidden(refusal(manifest.runtime))
    return Approval(by=caller.name)


def caller_here(home: Home) -> Caller:
    """Who works on a state directory: the holder of the token in LOSSLOOP_TOKEN, or its owner.

    Raises:
        AccessError: That token is not good.
        StateError: There is none, and the owner's cannot be read.
    """
    return home.tokens.checker().caller(bearer(os.environ.get(TOKEN) or home.tokens.read()))


def refusal(runtime: str) -> str:
    """Why a version is refused that nobody answers for, and what helps."""
    if runtime in SIGNED_ONLY:
        return (
            f"a version of the runtime {runtime!r} is refused unless a trusted key has signed it, whoever "
            "registers it: see lossloop sign; or convert it to ONNX or skops"
        )
    return (
        f"a version of the runtime {runtime!r} runs code of its own: registering it needs an admin's token, "
        "or a signature of a trusted key (lossloop sign)"
    )
