"""A loss function with what was declared about it, and the binding of its parameters."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from inspect import Parameter as Argument
from inspect import signature
from typing import Any, Protocol, TypedDict

from lossloop.core.codeid import CodeIdentity, code_identity
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.ids import digest
from lossloop.losses.arrays import as_costs
from lossloop.losses.declare import (
    USUAL_OUTCOME,
    Array,
    Bounds,
    Declaration,
    Features,
    Golden,
    Kind,
    Link,
    Outcome,
    Parameter,
)

Parameters = Mapping[str, Parameter]
_INPUTS = ("y_true", "y_pred", "features")


class Body(Protocol):
    """What stands behind a Loss: a bound function, or a composition of other bodies.

    Arrays come prepared: of the declared shapes and types, all of one library.
    """

    @property
    def declared(self) -> Declaration: ...
    @property
    def text(self) -> str:
        """How a policy file writes it."""
        ...

    @property
    def has_hessian(self) -> bool: ...

    def identity(self) -> CodeIdentity:
        """Digest of all that the costs depend on."""
        ...

    def costs(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        """Costs of shape (n,)."""
        ...

    def gradient(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        """Derivative of each cost by its margin, in the margin's shape; None if there is none."""
        ...

    def hessian(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        """Second derivative (for softmax its diagonal), in the margin's shape; None if there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """What a parameter must be: in words, and as a test."""

    words: str
    test: Callable[[Any], bool]


class Declared(TypedDict, total=False):
    """What the author of a loss may say of it besides its bounds.

    unit: Unit of a cost, or a function of the parameters; by default none, for a bare number.
    kind: What the predictions are; by default probabilities.
    outcome: What the outcomes are; by default what goes with the kind.
    needs_outcome: False if the cost is known without an outcome; y_true may then be None.
    positive: Predictions must be above 0.
    rising: No column of a prediction may be below the one before it.
    classes: How many classes or columns there must be, or a function of the parameters.
    link: From a training library's margin to a prediction; goes with `gradient`.
    gradient: ``(y_true, margin, *, parameters)``, the derivative of the cost by the margin.
    hessian: The second derivative likewise.
    requires: What parameters must be, by name.
    golden: Inputs and the costs that they must give.
    """

    unit: str | Callable[..., str]
    kind: Kind
    outcome: Outcome
    needs_outcome: bool
    positive: bool
    rising: bool
    classes: int | Callable[..., int | None]
    link: Link
    gradient: Callable[..., Array]
    hessian: Callable[..., Array]
    requires: Mapping[str, Requirement]
    golden: tuple[Golden, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Definition:
    """A function and what its author said of it; bounds, unit and classes may be functions of parameters."""

    name: str
    function: Callable[..., Array]
    bounds: Bounds | Callable[..., Bounds]
    unit: str | Callable[..., str] = ""
    kind: Kind = "probability"
    outcome: Outcome | None = None
    needs_outcome: bool = True
    positive: bool = False
    rising: bool = False
    classes: int | Callable[..., int | None] | None = None
    link: Link | None = None
    gradient: Callable[..., Array] | None = None
    hessian: Callable[..., Array] | None = None
    requires: Mapping[str, Requirement] = field(default_factory=dict)
    golden: tuple[Golden, ...] = ()

    def __post_init__(self) -> None:
        arguments = signature(self.function).parameters
        inputs = [name for name, argument in arguments.items() if argument.kind is not Argument.KEYWORD_ONLY]
        if tuple(inputs) not in (_INPUTS[:2], _INPUTS):
            raise InputError(
                f"{self.name} takes ({', '.join(inputs)}); a loss takes (y_true, y_pred) or "
                "(y_true, y_pred, features), and then parameters after a *"
            )
        open_ended = [name for name in self.defaults if self.defaults[name] is Argument.empty]
        if open_ended:
            raise InputError(
                f"parameter {open_ended[0]!r} of {self.name} needs a default", field=open_ended[0]
            )
        if self.gradient is not None and self.link is None:
            raise InputError(
                f"{self.name} has a gradient: say by which link, such as link='identity'", field="link"
            )

    @property
    def needs_features(self) -> bool:
        return "features" in signature(self.function).parameters

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameters by name, with their defaults."""
        arguments = signature(self.function).parameters
        return {name: argument.default for name, argument in arguments.items() if name not in _INPUTS}

    @cached_property
    def code(self) -> CodeIdentity:
        """Identity of the function and of its derivatives: found once, when it is first asked for."""
        return code_identity(self.function, self.gradient, self.hessian)

    def bind(self, given: Parameters) -> Bound:
        """The loss at these parameters, the rest at their defaults; InputError names what is wrong."""
        defaults = self.defaults
        for name in given:
            if name not in defaults:
                raise UnknownName(f"parameter of {self.name}", name, defaults, field=name)
        values = {
            name: self._fit(name, given.get(name, default), default) for name, default in defaults.items()
        }
        return Bound(definition=self, parameters=values, declared=self._declare(values))

    def _fit(self, name: str, value: Any, default: Any) -> Any:
        fitted = _like(value, default)
        if fitted is _MISFIT:
            raise InputError(f"{name} of {self.name} must be {_sort(default)}, not {value!r}", field=name)
        requirement = self.requires.get(name)
        if requirement is not None and not requirement.test(fitted):
            raise InputError(f"{name} of {self.name} must be {requirement.words}, not {value!r}", field=name)
        return fitted

    def _declare(self, values: Parameters) -> Declaration:
        low, high = self.bounds(**values) if callable(self.bounds) else self.bounds
        return Declaration(
            kind=self.kind,
            outcome=self.outcome or USUAL_OUTCOME.get(self.kind, "value"),
            bounds=(float(low), float(high)),
            unit=self.unit(**values) if callable(self.unit) else self.unit,
            needs_outcome=self.needs_outcome,
            needs_features=self.needs_features,
            positive=self.positive,
            rising=self.rising,
            classes=self.classes(**values) if callable(self.classes) else self.classes,
            link=self.link if self.gradient is not None else None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """A definition at given parameters."""

    definition: Definition
    parameters: Parameters
    declared: Declaration

    @property
    def text(self) -> str:
        given = ", ".join(f"{name}={value_text(value)}" for name, value in self.parameters.items())
        return f"{self.definition.name}({given})" if given else self.definition.name

    @property
    def has_hessian(self) -> bool:
        return self.definition.hessian is not None

    def identity(self) -> CodeIdentity:
        """Code of the function and of its derivatives, parameters and declaration."""
        codes = self.definition.code
        return CodeIdentity(
            digest=digest("loss/1", self.text, self.declared.content(), codes.digest),
            parts=codes.parts,
            unknown=codes.unknown,
        )

    def costs(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        inputs = (y_true, y_pred, features) if self.declared.needs_features else (y_true, y_pred)
        return as_costs(self.definition.function(*inputs, **self.parameters), y_pred, self.definition.name)

    def gradient(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        function = self.definition.gradient
        return None if function is None else function(y_true, margin, **self.parameters)

    def hessian(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        function = self.definition.hessian
        return None if function is None else function(y_true, margin, **self.parameters)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by the name under which its module has the loss: the function itself is hidden behind it."""
        function = self.definition.function
        place = (function.__module__, function.__qualname__)
        if _definition_at(*place) is self.definition:
            return _bind_again, (*place, self.parameters)
        return super().__reduce_ex__(2)


def _definition_at(module: str, name: str) -> Definition | None:
    body = getattr(getattr(sys.modules.get(module), name, None), "body", None)
    return body.definition if isinstance(body, Bound) else None


def _bind_again(module: str, name: str, parameters: Parameters) -> Bound:
    importlib.import_module(module)
    definition = _definition_at(module, name)
    if definition is None:
        raise InputError(f"{module}.{name} is no longer a loss")
    return definition.bind(parameters)


_MISFIT = object()


def _sort(default: Parameter) -> str:
    """In words, what a parameter with this default may be."""
    words = {bool: "true or false", float: "a number", int: "a whole number", str: "text", tuple: "a list"}
    return words.get(type(default), "a plain value")


def _like(value: Any, default: Any) -> Any:
    """The value in the type of the default, so that 5 and 5.0 are one parameter; _MISFIT otherwise."""
    if default is None or value is None:
        return _frozen(value) if default is None else _MISFIT
    if isinstance(default, bool) or isinstance(value, bool):
        return value if isinstance(default, bool) and isinstance(value, bool) else _MISFIT
    if isinstance(default, float):
        return float(value) if isinstance(value, int | float) and not math.isnan(value) else _MISFIT
    if isinstance(default, tuple):
        return _frozen(value) if isinstance(value, list | tuple) else _MISFIT
    return value if isinstance(value, type(default)) else _MISFIT


def _frozen(value: Any) -> Any:
    """Lists as tuples, numbers inside them as floats."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def value_text(value: Parameter) -> str:
    """A parameter as a policy file writes it: ``5`` rather than ``5.0``; it parses to the same value."""
    if isinstance(value, tuple):
        inner = ", ".join(value_text(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)
