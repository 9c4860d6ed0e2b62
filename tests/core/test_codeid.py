"""Code identity: what must change it, what must not, and what it admits not to know."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import importlib.util
import itertools
import re
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.codeid import CodeIdentity, code_identity

_count = itertools.count()
Load = Callable[[str], types.ModuleType]

COST = """
import math
import numpy as np

RATE = 2.0
TABLE = {"UA": (1, 2), "AA": (3, 4)}

def scale(x):
    return x * RATE

def cost(y, p, *, weight=1.0):
    return scale(np.abs(y - p)) * weight + math.sqrt(TABLE["UA"][0])
"""


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Import source text as a module of its own."""
    loaded: list[str] = []

    def make(source: str) -> types.ModuleType:
        name = f"codeid_case_{next(_count)}"
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield make
    for name in loaded:
        del sys.modules[name]


def digest(module: types.ModuleType, name: str = "cost") -> str:
    return code_identity(getattr(module, name)).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def cost", "# a comment\n\n\ndef cost"),
        ("    return scale(", '    """A docstring."""\n    return scale('),
        ("    return x * RATE", '    """Elsewhere, too."""\n    return (x   *   RATE)  # twice'),
        ("RATE = 2.0", "UNUSED = 5\nRATE = 2.0"),
        ("RATE = 2.0", "RATE = 1.0 + 1.0"),
        ('"UA"', "'UA'"),
    ],
)
def test_what_does_not_matter_changes_nothing(load: Load, old: str, new: str) -> None:
    assert old in COST
    assert digest(load(COST)) == digest(load(COST.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* weight", "+ weight"),
        ("weight=1.0", "weight=2.0"),
        ("return x * RATE", "return x + RATE"),
        ("RATE = 2.0", "RATE = 3.0"),
        ("RATE = 2.0", "RATE = 2"),
        ("(3, 4)", "(3, 5)"),
        ("np.abs", "np.square"),
        ("math.sqrt", "math.exp"),
        ("import math", "import cmath as math"),
    ],
)
def test_what_does_matter_changes_it(load: Load, old: str, new: str) -> None:
    assert old in COST
    assert digest(load(COST)) != digest(load(COST.replace(old, new)))


def test_parts_name_what_was_reached_and_tell_what_changed(load: Load) -> None:
    before = code_identity(load(COST).cost)
    after = code_identity(load(COST.replace("x * RATE", "x + RATE")).cost)
    assert [label.split(":")[1] for label, _ in before.parts] == ["cost", "scale"]
    same = [old[1] == new[1] for old, new in zip(before.parts, after.parts, strict=True)]
    assert same == [True, False]


def test_nothing_of_this_is_unknown(load: Load) -> None:
    assert code_identity(load(COST).cost).unknown == ()


def test_a_function_is_the_same_in_another_module(load: Load) -> None:
    assert digest(load(COST)) == digest(load(COST))


def test_identity_is_the_same_in_every_process_and_on_every_python(tmp_path: Path) -> None:
    (tmp_path / "costs.py").write_text(
        COST + "\nKINDS = {'a', 'b', 'c'}\ndef kinds(x):\n    return x in KINDS\n"
    )
    program = (
        "import costs\nfrom lossloop.core.codeid import code_identity\n"
        "print(code_identity(costs.cost, costs.kinds).digest)"
    )
    root = str(Path(__file__).parents[2] / "src")
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": f"{root}:{tmp_path}", "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert seen == {"49808e71a7ee90a83f7390a19733680cae8d1c0926470949cb7645d178a04daa"}


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists)
)
def test_equal_constants_have_equal_identities(value: object) -> None:
    assert code_identity(value).digest == code_identity(value).digest
    assert code_identity(value).digest != code_identity([value]).digest


class Carrier(enum.Enum):
    UA = 1
    AA = 2


@dataclass(frozen=True)
class Price:
    amount: float
    unit: str = "USD"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (True, 1),
        (0.0, -0.0),
        ("1", b"1"),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        (frozenset({1}), {1}),
        (Carrier.UA, Carrier.AA),
        (Price(1.0), Price(2.0)),
        (re.compile("a"), re.compile("b")),
        (dt.date(2013, 3, 1), dt.date(2013, 3, 2)),
        (np.arange(3), np.arange(4)),
        (np.arange(3), np.arange(3.0)),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (abs, max),
        ("a".upper, "b".upper),
        (str.upper, str.lower),
        (np.exp, np.log),
        (types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2})),
    ],
)
def test_values_are_told_apart(one: object, other: object) -> None:
    assert code_identity(one) == code_identity(one)
    assert code_identity(one).digest != code_identity(other).digest


VARIANTS = {
    "a closure": "def make(k):\n    def cost(y):\n        return y * k\n    return cost\ncost = make({0})\n",
    "a lambda": "cost = lambda y: y * {0}\n",
    "a method's class": (
        "class Cost:\n    factor = {0}\n    def of(self, y):\n        return y * self.factor\n"
        "def cost(y):\n    return Cost().of(y)\n"
    ),
    "a base class": (
        "class Base:\n    k = {0}\nclass Cost(Base):\n    pass\ndef cost(y):\n    return y * Cost.k\n"
    ),
    "a decorated helper": (
        "import functools\n@functools.lru_cache\ndef helper(y):\n    return y * {0}\n"
        "def cost(y):\n    return helper(y)\n"
    ),
    "a decorator's argument": (
        "import functools\ndef times(k):\n    def wrap(f):\n        @functools.wraps(f)\n"
        "        def inner(y):\n            return k * f(y)\n        return inner\n    return wrap\n"
        "@times({0})\ndef cost(y):\n    return y\n"
    ),
    "a nested function": "def cost(y):\n    def inner(x):\n        return x * {0}\n    return inner(y)\n",
    "a comprehension's global": "K = {0}\ndef cost(y):\n    return [x * K for x in y]\n",
    "a default that is a name": "K = {0}\ndef cost(y, k=K):\n    return y * k\n",
    "an instance": (
        "class Box:\n    def __init__(self, k):\n        self.k = k\nBOX = Box({0})\n"
        "def cost(y):\n    return y * BOX.k\n"
    ),
    "a property": (
        "class Box:\n    @property\n    def k(self):\n        return {0}\nBOX = Box()\n"
        "def cost(y):\n    return y * BOX.k\n"
    ),
    "a static method": (
        "class Box:\n    @staticmethod\n    def k():\n        return {0}\n"
        "def cost(y):\n    return y * Box.k()\n"
    ),
    "an f-string": "def cost(y):\n    return f'{{y!r:>{0}}}'\n",
    "a class decorator": (
        "K = {0}\ndef mark(k):\n    def wrap(cls):\n        cls.k = k\n        return cls\n    return wrap\n"
        "@mark(K)\nclass Box:\n    pass\ndef cost(y):\n    return y * Box.k\n"
    ),
}


@pytest.mark.parametrize("source", VARIANTS.values(), ids=VARIANTS.keys())
def test_an_edit_is_seen_wherever_it_hides(load: Load, source: str) -> None:
    first, again, edited = (load(source.format(k)) for k in (2, 2, 3))
    assert digest(first) == digest(again)
    assert digest(first) != digest(edited)
    assert code_identity(first.cost).unknown == ()


def test_functions_that_call_each_other_are_followed_once(load: Load) -> None:
    source = "def cost(y):\n    return other(y - 1) if y else 0\ndef other(y):\n    return cost(y - {0})\n"
    assert digest(load(source.format(1))) == digest(load(source.format(1)))
    assert digest(load(source.format(1))) != digest(load(source.format(2)))


def test_a_module_imported_inside_the_function_is_followed(load: Load, tmp_path: Path) -> None:
    helper = load("RATE = 2.0\ndef scale(y):\n    return y * RATE\n")
    source = f"def cost(y):\n    from {helper.__name__} import scale\n    return scale(y)\n"
    before = code_identity(load(source).cost)
    helper.RATE = 3.0  # type: ignore[attr-defined] # a module made for this test
    assert before.digest != digest(load(source))
    dotted = load(f"def cost(y):\n    import {helper.__name__} as h\n    return h.scale(y)\n")
    assert any(label.endswith(":scale") for label, _ in code_identity(dotted.cost).parts)


def test_the_standard_library_counts_by_name_and_array_libraries_too(load: Load) -> None:
    module = load("import json\nimport numpy\ndef cost(y):\n    return numpy.abs(y), json.dumps(y)\n")
    assert [label.split(":")[1] for label, _ in code_identity(module.cost).parts] == ["cost"]


def test_another_distribution_counts_with_its_version(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import msgspec\ndef cost(y):\n    return msgspec.json.encode(y)\n"
    before = digest(load(source))
    known = importlib.import_module("lossloop.core.codeid")
    known._distribution.cache_clear()
    monkeypatch.setattr(known.metadata, "version", lambda name: "999.0")
    assert digest(load(source)) != before
    known._distribution.cache_clear()


UNKNOWN = {
    "def cost(y):\n    return eval('y')\n": r"cost calls eval",
    "def cost(y, name):\n    return getattr(y, name)()\n": r"cost calls getattr",
    "def cost(y):\n    return missing(y)\n": r"cost names missing, which is not defined",
    "def cost(y):\n    import no_such_module\n    return no_such_module.f(y)\n": r"cannot be imported",
    "import threading\nLOCK = threading.Lock()\ndef cost(y):\n    return LOCK\n": r"a lock has no content",
    "exec('def cost(y): return y')\n": r"cost has no source",
    "def get(y): ...\nget.__code_identity__ = None\ndef cost(y):\n    return get(y)\n": r"get looks things",
}


@pytest.mark.parametrize(("source", "words"), UNKNOWN.items(), ids=UNKNOWN.values())
def test_what_cannot_be_followed_is_said_to_be_unknown(load: Load, source: str, words: str) -> None:
    unknown = code_identity(load(source).cost).unknown
    assert len(unknown) == 1
    assert re.search(words, unknown[0])


def test_getattr_with_a_fixed_name_is_not_dynamic(load: Load) -> None:
    assert code_identity(load("def cost(y):\n    return getattr(y, 'real', 0)\n").cost).unknown == ()


def test_two_lambdas_on_one_line_are_not_confused(load: Load) -> None:
    module = load("same = (lambda y: y, lambda y: y)\ncost, other = (lambda y: y), (lambda y: y + 1)\n")
    assert code_identity(module.same[0]).unknown == ()
    assert len(code_identity(module.cost).unknown) == 1


def test_an_object_may_answer_for_itself(load: Load) -> None:
    own = CodeIdentity(digest="ab" * 32, parts=(), unknown=("its weather",))
    module = load("def cost(y):\n    return THING(y)\n")
    module.THING = types.SimpleNamespace(__code_identity__=own)  # type: ignore[attr-defined] # made here
    assert code_identity(module.cost).unknown == ("its weather",)


def test_a_value_that_holds_itself_ends(load: Load) -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "nested more than" in code_identity(endless).unknown[0]


def test_a_module_handed_about_as_a_value_is_unknown(load: Load) -> None:
    helper = load("RATE = 1\n")
    module = load(
        f"import {helper.__name__} as helper\n"
        "def cost(y):\n    return same(helper)\ndef same(m):\n    return m\n"
    )
    assert "passed about as a value" in code_identity(module.cost).unknown[0]


def test_an_empty_cell_is_not_an_error(load: Load) -> None:
    module = load(
        "def make():\n    def cost(y):\n        return late(y)\n    return cost\n    late = abs\n"
        "cost = make()\n"
    )
    assert "which is not defined" in code_identity(module.cost).unknown[0]


def test_it_can_be_asked_from_threads(load: Load) -> None:
    module, seen = load(COST), set()
    threads = [threading.Thread(target=lambda: seen.add(digest(module))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1


HANDED_ABOUT = {
    "a bound method": (
        "class Box:\n    def __init__(self, k):\n        self.k = k\n"
        "    def of(self, y):\n        return y * self.k\n"
        "OF = Box({0}).of\ndef cost(y):\n    return OF(y)\n"
    ),
    "a class method": (
        "class Box:\n    @classmethod\n    def of(cls, y):\n        return y * {0}\n"
        "OF = vars(Box)['of']\ndef cost(y):\n    return OF\n"
    ),
    "a property object": (
        "class Box:\n    @property\n    def k(self):\n        return {0}\n"
        "K = vars(Box)['k']\ndef cost(y):\n    return K\n"
    ),
    "a coroutine": (
        "async def later(y: int) -> int:\n    k: int = {0}\n    return y * k\n"
        "def cost(y):\n    return later(y)\n"
    ),
    "a cell of a class": (
        "def make(k):\n    class Box:\n        def of(self, y):\n            return y * k\n    return Box\n"
        "Box = make({0})\ndef cost(y):\n    return Box().of(y)\n"
    ),
    "a partial": (
        "import functools\ndef scale(k, y):\n    return k * y\nscaled = functools.partial(scale, {0})\n"
        "def cost(y):\n    return scaled(y)\n"
    ),
    "an enumeration": (
        "import enum\nclass Rate(enum.Enum):\n    LOW = {0}\ndef cost(y):\n    return y * Rate.LOW.value\n"
    ),
    "a dataclass": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Price:\n    rate: float = {0}\n"
        "def cost(y):\n    return y * Price().rate\n"
    ),
}


@pytest.mark.parametrize("source", HANDED_ABOUT.values(), ids=HANDED_ABOUT.keys())
def test_an_edit_is_seen_in_whatever_is_handed_about(load: Load, source: str) -> None:
    first, again, edited = (load(source.format(k)) for k in (2, 2, 3))
    assert digest(first) == digest(again)
    assert digest(first) != digest(edited)
    assert code_identity(first.cost).unknown == ()


def test_a_type_hint_is_text_but_what_it_names_is_not_followed(load: Load) -> None:
    hinted = load("class Array:\n    pass\ndef cost(y: Array) -> Array:\n    return y\n")
    assert [label.split(":")[1] for label, _ in code_identity(hinted.cost).parts] == ["cost"]
    assert digest(hinted) != digest(load("class Array:\n    pass\ndef cost(y):\n    return y\n"))


def test_packages_are_followed_through_relative_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "codeid_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 2.0\ndef scale(y):\n    return y * RATE\n")
    (package / "costs.py").write_text(
        "def cost(y):\n    from .rates import scale\n    from . import rates\n"
        "    return scale(y) + rates.scale(y)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("codeid_package.costs")
    identity = code_identity(module.cost)
    assert [label for label, _ in identity.parts] == [
        "codeid_package.costs:cost",
        "codeid_package.rates:scale",
    ]
    assert identity.unknown == ()


def test_a_distribution_without_a_version_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.import_module("lossloop.core.codeid")
    monkeypatch.setattr(known.metadata, "packages_distributions", dict)
    known._distribution.cache_clear()
    assert known._distribution("no_such_distribution") == "no_such_distribution==unknown"
    known._distribution.cache_clear()


def test_a_class_made_without_source_is_unknown(load: Load) -> None:
    module = load("Box = type('Box', (), {})\ndef cost(y):\n    return Box()\n")
    assert "Box has no source that can be found" in code_identity(module.cost).unknown[0]
