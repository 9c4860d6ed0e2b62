"""What a function's result depends on, as one digest: its code and all the project code that it reaches.

Followed by content: functions, lambdas, classes, closures, default values, module constants and the
modules that are imported inside a function. Third-party code counts by distribution and version, the
standard library by name. Comments, docstrings, formatting, line numbers and the module's name count for
nothing. What cannot be followed is listed as unknown, so that nobody takes two such digests for a proof of
sameness.
"""

from __future__ import annotations

import ast
import builtins
import copyreg
import importlib
import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)

from lossloop.core.ids import digest
from lossloop.core.syntax import (
    canonical,
    class_node,
    dotted_names,
    dynamic_calls,
    function_node,
    outer_names,
)

INTERCHANGEABLE = frozenset(
    {"array_api_compat", "array_api_strict", "cupy", "dask", "jax", "jaxlib", "numpy", "scipy", "torch"}
)
"""Array libraries, which count by name without version: the same code must mean the same on each of them."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_BUILT_IN = (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
_UNPICKLABLE = (TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError)
_DEEPEST = 100
_ABSENT = object()
_Scope = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class CodeIdentity:
    """The identity of a piece of code.

    `digest` is hex, equal in every process and on every Python from 3.11. `parts` names what was followed
    (``module:qualname``) with a digest of each, in the order in which it was reached, so that two identities
    can be compared part by part. `unknown` says in words what could not be followed, sorted.
    """

    digest: str
    parts: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...] = ()


def code_identity(value: object, *more: object) -> CodeIdentity:
    """Identify a function, a class or a constant by its content and by what it reaches; or several together.

    An object may answer for itself with an attribute ``__code_identity__`` that is a CodeIdentity; where that
    attribute is None, what the object does depends on more than code, and it counts as unknown.
    """
    home = str(getattr(value, "__module__", None) or "").partition(".")[0]
    walk = _Walk(home if home not in INTERCHANGEABLE else "")
    root = walk.value((value, *more))
    texts = [text for _, text in walk.parts]
    return CodeIdentity(
        digest=digest("code/1", root, *texts),
        parts=tuple((label, digest(text)) for label, text in walk.parts),
        unknown=tuple(sorted(walk.unknown)),
    )


@dataclass(frozen=True)
class _Foreign:
    """A module that is not followed, standing for itself by name."""

    token: str


class _Walk:
    """One walk over what a value reaches; functions and classes are numbered as they are met."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.parts: list[tuple[str, str]] = []
        self.unknown: set[str] = set()
        self._met: dict[int, tuple[object, str]] = {}
        self._depth = 0

    def value(self, value: object) -> str:
        """The token that stands for a value."""
        if type(value) in _ATOMS:
            return f"{type(value).__name__}:{value!r}"
        if self._depth >= _DEEPEST:
            return self._give_up(f"a {type(value).__name__} nested more than {_DEEPEST} deep")
        self._depth += 1
        try:
            return self._compound(value)
        finally:
            self._depth -= 1

    def _compound(self, value: object) -> str:
        own = getattr(value, "__code_identity__", _ABSENT)
        if isinstance(own, CodeIdentity):
            self.unknown.update(own.unknown)
            return f"identity:{own.digest}"
        if own is None:
            return self._give_up(f"{_label(value)} looks things up by name")
        if isinstance(value, _Foreign):
            return value.token
        if isinstance(value, FunctionType):
            return self._followed(value, self._function)
        if isinstance(value, type):
            return self._followed(value, self._class)
        return self._container(value) or self._wrapper(value) or self._object(value)

    def _container(self, value: object) -> str | None:
        if type(value) in (tuple, list):
            return f"{type(value).__name__}({','.join(map(self.value, _items(value)))})"
        if type(value) in (set, frozenset):
            ordered = sorted(_items(value), key=lambda item: (type(item).__name__, _label(item)))
            return f"{type(value).__name__}({','.join(map(self.value, ordered))})"
        if isinstance(value, dict | MappingProxyType) and type(value) in (dict, MappingProxyType):
            return f"dict({','.join(f'{self.value(k)}={self.value(v)}' for k, v in value.items())})"
        return None

    def _wrapper(self, value: object) -> str | None:
        if isinstance(value, MethodType):
            return f"method({self.value(value.__func__)},{self.value(value.__self__)})"
        if isinstance(value, staticmethod | classmethod):
            return f"{type(value).__name__}({self.value(value.__func__)})"
        if isinstance(value, property):
            return f"property({self.value((value.fget, value.fset, value.fdel))})"
        wrapped = getattr(value, "__wrapped__", None)
        return f"{type(value).__qualname__}({self.value(wrapped)})" if wrapped is not None else None

    def _object(self, value: object) -> str:
        if isinstance(value, ModuleType):
            foreign = self._origin(value.__name__)
            return foreign or self._give_up(f"module {value.__name__} is passed about as a value")
        if isinstance(value, _BUILT_IN):
            owner = getattr(value, "__self__", None)
            bound = "" if owner is None or isinstance(owner, ModuleType) else f"({self.value(owner)})"
            return f"{self._origin(_module(value)) or ''}:{_label(value)}{bound}"
        return self._instance(value)

    def _instance(self, value: object) -> str:
        """An object is what it would be rebuilt from: its class and its state, as pickle asks for them."""
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except _UNPICKLABLE as error:
            return self._give_up(f"a {type(value).__qualname__} has no content to compare: {error}")
        if isinstance(reduced, str):
            return f"{self.value(type(value))}:{reduced}"
        contents = (list(part) if isinstance(part, Iterator) else part for part in reduced[:5])
        return f"object({','.join(map(self.value, contents))})"

    def _followed(self, value: FunctionType | type, describe: Callable[..., str]) -> str:
        foreign = self._origin(_module(value))
        if foreign:
            return f"{foreign}:{value.__qualname__}"
        if id(value) in self._met:
            return self._met[id(value)][1]
        place = len(self.parts)
        self._met[id(value)] = (value, f"#{place}")
        label = f"{value.__module__}:{value.__qualname__}"
        self.parts.append((label, ""))
        self.parts[place] = (label, describe(value, label))
        return f"#{place}"

    def _function(self, function: FunctionType, label: str) -> str:
        node = function_node(function)
        if node is None:
            return self._give_up(f"{label} has no source that can be found")
        closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))

        def scope(name: str) -> object:
            if name in closure:
                return _cell(closure[name])
            return function.__globals__.get(name, getattr(builtins, name, _ABSENT))

        package = str(function.__globals__.get("__package__") or "")
        defaults = f"{self.value(function.__defaults__)},{self.value(function.__kwdefaults__)}"
        return f"{canonical(node)}|{defaults}|{self._references(node, scope, label, package)}"

    def _class(self, cls: type, label: str) -> str:
        node = class_node(cls)
        if node is None:
            return self._give_up(f"{label} has no source that can be found")
        spaces = [vars(sys.modules[cls.__module__])]
        for member in vars(cls).values():
            if isinstance(member, FunctionType) and member.__closure__:
                cells = zip(member.__code__.co_freevars, member.__closure__, strict=True)
                spaces.append({name: _cell(cell) for name, cell in cells if name != "__class__"})

        def scope(name: str) -> object:
            found = next((space[name] for space in reversed(spaces) if name in space), _ABSENT)
            return getattr(builtins, name, _ABSENT) if found is _ABSENT else found

        package = cls.__module__.rpartition(".")[0]
        bases = self.value(cls.__bases__)
        return f"{canonical(node)}|{bases}|{self._references(node, scope, label, package)}"

    def _references(self, node: ast.AST, scope: _Scope, label: str, package: str) -> str:
        """Tokens of everything outside that the code names, in the order of the names."""
        local = dict(self._local_imports(node, package))
        roots = outer_names(node) | local.keys()
        self.unknown.update(f"{label} calls {name}" for name in dynamic_calls(node))
        tokens = []
        for path in sorted({path for path in dotted_names(node) if path[0] in roots}):
            value = local[path[0]] if path[0] in local else scope(path[0])
            tokens.append(f"{'.'.join(path)}={self._along(value, path, label)}")
        return ";".join(tokens)

    def _along(self, value: object, path: tuple[str, ...], label: str) -> str:
        """Follow a dotted name as far as modules go."""
        for name in path[1:]:
            if not isinstance(value, ModuleType) or self._origin(value.__name__):
                break
            value = getattr(value, name, _ABSENT)
        if value is _ABSENT:
            return self._give_up(f"{label} names {'.'.join(path)}, which is not defined")
        return self.value(value)

    def _local_imports(self, node: ast.AST, package: str) -> Iterator[tuple[str, object]]:
        for found in ast.walk(node):
            if isinstance(found, ast.Import):
                for alias in found.names:
                    top = alias.name.partition(".")[0]
                    yield alias.asname or top, self._module(alias.name if alias.asname else top)
            elif isinstance(found, ast.ImportFrom):
                base = importlib.util.resolve_name("." * found.level + (found.module or ""), package)
                for alias in found.names:
                    yield alias.asname or alias.name, self._member(base, alias.name)

    def _member(self, base: str, name: str) -> object:
        module = self._module(base)
        if not isinstance(module, ModuleType):
            return module
        return getattr(module, name, None) or self._module(f"{base}.{name}")

    def _module(self, name: str) -> object:
        """A module imported inside a function: imported now, as calling the function would."""
        foreign = self._origin(name)
        if foreign:
            return _Foreign(foreign)
        try:
            return importlib.import_module(name)
        except ImportError as error:
            return _Foreign(self._give_up(f"module {name} cannot be imported: {error}"))

    def _origin(self, module: str) -> str | None:
        """What stands for a module that is not followed; None for the project's own."""
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names and top != self.home:
            return f"python.{module}"
        if top in (self.home, "lossloop", "__main__", "") or not _is_installed(module):
            return None
        return top if top in INTERCHANGEABLE else _distribution(top)

    def _give_up(self, reason: str) -> str:
        self.unknown.add(reason)
        return f"unknown:{reason}"


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, Iterable) else []


def _label(value: object) -> str:
    return str(getattr(value, "__qualname__", None) or repr(value))


def _module(value: object) -> str:
    owner = getattr(value, "__objclass__", None)
    return str(getattr(value, "__module__", None) or getattr(owner, "__module__", None) or "builtins")


def _cell(cell: object) -> object:
    try:
        return getattr(cell, "cell_contents", _ABSENT)
    except ValueError:  # the cell is still empty: the name is assigned later
        return _ABSENT


@lru_cache(maxsize=1024)
def _is_installed(module: str) -> bool:
    """Whether a module lies among installed packages (an editable install does not: it is the project)."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(module) or sys.modules.get(top)
    if loaded is None:
        spec = importlib.util.find_spec(top)
        places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    else:
        places = [getattr(loaded, "__file__", None) or "", *getattr(loaded, "__path__", ())]
    return any({"site-packages", "dist-packages"} & set(PurePath(place).parts) for place in places)


@lru_cache(maxsize=256)
def _distribution(top: str) -> str:
    names = metadata.packages_distributions().get(top, [top])
    return "+".join(f"{name}=={_version(name)}" for name in sorted(set(names)))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


__all__ = ["INTERCHANGEABLE", "CodeIdentity", "code_identity"]
