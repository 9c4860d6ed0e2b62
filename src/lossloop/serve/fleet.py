"""The versions in memory, and the traffic that they answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from lossloop.core.errors import Conflict, LossloopError, UnknownName
from lossloop.core.traffic import Traffic
from lossloop.ledger.store import Store
from lossloop.registry import Artifacts, Version, versions
from lossloop.serve.runtimes import EXTERNAL, Runtime, load

Key = tuple[str, int]


class Fleet:
    """Loads versions aside and swaps traffic at once; a version that cannot be loaded takes none."""

    def __init__(self, state: Store, artifacts: Artifacts) -> None:
        self._state = state
        self._artifacts = artifacts
        self._traffic: dict[str, Traffic] = {}
        self._loaded: dict[Key, tuple[Version, Runtime | None]] = {}
        self._broken: dict[Key, str] = {}

    def wanted(self) -> dict[str, Traffic]:
        """The traffic that the state asks for."""
        return self._state.all("traffic", Traffic)

    def missing(self, traffic: Mapping[str, Traffic]) -> list[Version]:
        """The versions of this traffic that were not loaded yet."""
        known = {*self._loaded, *self._broken}
        return [versions.find(self._state, *key) for key in sorted(_keys(traffic)) if key not in known]

    def load(self, wanted: Sequence[Version]) -> None:
        """Load versions; nothing else changes and the state is not touched, so a thread may take its time."""
        for version in wanted:
            key = (version.model, version.number)
            try:
                self._loaded[key] = (version, self._load(version))
            except LossloopError as error:
                self._broken[key] = str(error)
                print(f"{version.name} cannot be loaded: {error}", file=sys.stderr, flush=True)

    def swap(self, traffic: dict[str, Traffic]) -> None:
        """Follow this traffic from the next request on; requests under way finish with the old one."""
        self._traffic = traffic
        needed = _keys(traffic)
        self._loaded = {key: value for key, value in self._loaded.items() if key in needed}
        self._broken = {key: value for key, value in self._broken.items() if key in needed}

    def traffic(self, model: str) -> Traffic:
        """How a model's traffic is split now; raise UnknownName where there is no such model."""
        if model not in self._traffic:
            raise UnknownName("model", model, self._traffic, field="model")
        return self._traffic[model]

    def champion(self, traffic: Traffic) -> tuple[Version, Runtime]:
        """The champion, ready to answer.

        Raises:
            Conflict: There is none, it is served elsewhere, or it cannot be loaded.
        """
        if traffic.champion is None:
            raise Conflict(
                f"{traffic.model} has no champion yet; run: lossloop promote {traffic.model} VERSION"
            )
        key = (traffic.model, traffic.champion)
        if key in self._broken:
            raise Conflict(f"{traffic.model}:{traffic.champion} cannot be loaded: {self._broken[key]}")
        version, runtime = self._loaded[key]
        if runtime is None:
            raise Conflict(
                f"{version.name} is served by another system; send its predictions to /v1/predictions"
            )
        return version, runtime

    def challenger(self, traffic: Traffic) -> tuple[Version, Runtime] | None:
        """The challenger, if there is one and it can answer."""
        if traffic.challenger is None:
            return None
        version, runtime = self._loaded.get((traffic.model, traffic.challenger), (None, None))
        return None if version is None or runtime is None else (version, runtime)

    def _load(self, version: Version) -> Runtime | None:
        manifest = version.manifest
        if manifest.runtime == EXTERNAL:
            return None
        return load(manifest.runtime, self._artifacts.get(manifest.artifact))


def _keys(traffic: Mapping[str, Traffic]) -> set[Key]:
    return {(each.model, number) for each in traffic.values() for number in each.versions}
