"""The versions in memory, and the traffic that they answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lossloop.core.errors import Conflict, UnknownName
from lossloop.core.tasks import Task
from lossloop.core.traffic import Traffic
from lossloop.ledger.store import Store
from lossloop.registry import Artifacts, Version, versions
from lossloop.serve.arms import Arms
from lossloop.serve.guarding import Guarding
from lossloop.serve.lanes import Lane
from lossloop.serve.runtimes import EXTERNAL, Permit
from lossloop.serve.schema import Schema
from lossloop.serve.transforms import load_version
from lossloop.serve.warming import warm

Key = tuple[str, int]
GivePermit = Callable[[Version], Permit | None]
"""Says whether a version's own code may be run; raises LossloopError where it may not."""


def nobody(version: Version) -> Permit | None:
    """Gives none: what brings code is not loaded."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A version that traffic asks for: where it runs, or why it does not."""

    version: Version
    lane: Lane | None = None
    problem: str = ""


class Fleet:
    """Loads and warms versions aside and swaps traffic at once; one that fails at either takes none."""

    def __init__(
        self,
        state: Store,
        artifacts: Artifacts,
        permit: GivePermit = nobody,
        guarding: Guarding | None = None,
    ) -> None:
        self.guarding = guarding or Guarding()
        self._state = state
        self._artifacts = artifacts
        self._permit = permit
        self._arms: dict[str, Arms | Conflict] = {}
        self._traffic: dict[str, Traffic] = {}
        self._held: dict[Key, Held] = {}
        self._aside: set[Key] = set()
        """Of versions that are held though they have no traffic."""

    def wanted(self) -> dict[str, Traffic]:
        """The traffic that the state asks for."""
        return self._state.all("traffic", Traffic)

    def missing(self, traffic: Mapping[str, Traffic]) -> list[tuple[Version, Task]]:
        """The versions of this traffic that were not loaded yet, and what they do."""
        return [
            (versions.find(self._state, *key), traffic[key[0]].task)
            for key in sorted(_keys(traffic))
            if key not in self._held
        ]

    def load(self, wanted: Sequence[tuple[Version, Task]]) -> None:
        """Load versions and warm them up; nothing else changes and the state is not touched.

        So a thread may take its time.
        """
        for version, task in wanted:
            key = (version.model, version.number)
            try:
                self._held[key] = Held(version=version, lane=self._load(version, task))
            except Exception as error:  # noqa: BLE001 - whatever a version is, the others are there to answer
                words = str(error) or type(error).__name__
                self._held[key] = Held(version=version, problem=words)
                print(f"{version.name} cannot be loaded: {words}", file=sys.stderr, flush=True)

    def swap(self, traffic: dict[str, Traffic]) -> None:
        """Follow this traffic from the next request on; requests under way finish with the old one."""
        before = self._traffic
        self._traffic = traffic
        needed = _keys(traffic) | self._aside
        self._held = {key: held for key, held in self._held.items() if key in needed}
        self.guarding.circuits.keep(needed)
        self._arms = {
            model: self._arms[model] if each == before.get(model) else self._arms_of(each)
            for model, each in traffic.items()
        }

    def traffic(self, model: str) -> Traffic:
        """How a model's traffic is split now; raise UnknownName where there is no such model."""
        if model not in self._traffic:
            raise UnknownName("model", model, self._traffic, field="model")
        return self._traffic[model]

    def models(self) -> list[str]:
        """The names of all models."""
        return sorted(self._traffic)

    def known(self, model: str) -> list[Version]:
        """All versions of a model, held or not, oldest first."""
        return versions.versions(self._state, model)

    def held(self, model: str, number: int | None = None) -> Held | None:
        """A version, or the champion, if it is in memory or could not be loaded."""
        number = self.traffic(model).champion if number is None else number
        return None if number is None else self._held.get((model, number))

    def lane(self, model: str, number: int) -> Lane:
        """Where a version runs that a caller names.

        Raises:
            UnknownName: It is not loaded: it has no part of the traffic, and nobody loaded it aside.
            Conflict: It cannot answer.
        """
        held = self.held(model, number)
        if held is None:
            loaded = [
                str(key[1]) for key, each in sorted(self._held.items()) if key[0] == model and each.lane
            ]
            raise UnknownName(f"loaded version of {model}", str(number), loaded, field="version")
        if held.lane is None:
            raise Conflict(
                f"{held.version.name} does not answer: {held.problem or 'another system serves it'}"
            )
        return held.lane

    def make(self, version: Version, task: Task) -> Held:
        """Load a version and warm it up; nothing else changes, so a thread may take its time.

        Raises:
            Conflict: It is served by another system.
            LossloopError: It cannot be loaded.
        """
        lane = self._load(version, task)
        if lane is None:
            raise Conflict(f"{version.name} is served by another system")
        return Held(version=version, lane=lane)

    def keep(self, held: Held) -> None:
        """Hold a version though it has no traffic, or one that could not be loaded before."""
        key = (held.version.model, held.version.number)
        self._held[key] = held
        traffic = self._traffic[held.version.model]
        if held.version.number in traffic.versions:
            self._arms[traffic.model] = self._arms_of(traffic)
        else:
            self._aside.add(key)

    def drop(self, model: str, number: int | None = None) -> None:
        """Let go of a version that has no traffic, or of all of a model; raise Conflict where one has."""
        busy = [each for each in self.traffic(model).versions if number in (None, each)]
        if busy:
            raise Conflict(f"{model}:{busy[0]} has traffic: promote another version or roll it back first")
        for key in [key for key in self._aside if key[0] == model and number in (None, key[1])]:
            self._aside.discard(key)
            self._held.pop(key, None)

    def ready(self, model: str) -> dict[int, str | None]:
        """The versions of a model that are held ready, and why one of them is not."""
        elsewhere = "it is served by another system"
        return {
            number: None if held.lane is not None else held.problem or elsewhere
            for (name, number), held in sorted(self._held.items())
            if name == model
        }

    def arms(self, model: str) -> Arms:
        """Who answers a model's requests now.

        Raises:
            UnknownName: There is no such model.
            Conflict: It has no champion, or one that is served elsewhere, or cannot be loaded while no other
                version can answer.
        """
        arms = self._arms.get(model)
        if arms is None:
            self.traffic(model)
            raise AssertionError(model)
        if isinstance(arms, Conflict):
            raise Conflict(str(arms))
        return arms

    def _arms_of(self, traffic: Traffic) -> Arms | Conflict:
        if traffic.champion is None:
            return Conflict(
                f"{traffic.model} has no champion yet; run: lossloop promote {traffic.model} VERSION"
            )
        held = self._held[traffic.model, traffic.champion]
        if held.lane is None and not held.problem:
            return Conflict(
                f"{held.version.name} is served by another system; send its predictions to /v1/predictions"
            )
        found = {number: self._held[traffic.model, number].lane for number in traffic.versions}
        lanes = {number: lane for number, lane in found.items() if lane is not None}
        if traffic.champion not in lanes and traffic.previous not in lanes:
            return Conflict(f"{held.version.name} cannot be loaded: {held.problem}")
        schema = Schema(held.version.manifest.features)
        return Arms.of(traffic, schema, lanes, self.guarding.of(traffic))

    def _load(self, version: Version, task: Task) -> Lane | None:
        manifest = version.manifest
        if manifest.runtime == EXTERNAL:
            return None
        runtime = load_version(manifest, self._artifacts.get, self._permit(version))
        return Lane(version, runtime, task, inline=warm(manifest, runtime))


def _keys(traffic: Mapping[str, Traffic]) -> set[Key]:
    return {(each.model, number) for each in traffic.values() for number in each.versions}
