"""Source found again as a syntax tree, cleaned of what does not matter, and the names that it uses."""

from __future__ import annotations

import ast
import copy
import linecache
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from symtable import SymbolTable, symtable
from types import FunctionType

_DYNAMIC = frozenset({"__import__", "compile", "eval", "exec", "globals", "locals", "vars"})
_SILENT = frozenset({"ctx", "kind", "type_comment"})
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@lru_cache(maxsize=64)
def _tree(source: str) -> ast.Module:
    return ast.parse(source)


def function_node(function: FunctionType) -> ast.AST | None:
    """The function's definition, cleaned; None without source, or where two on one line differ."""
    code = function.__code__
    nodes = ast.walk(_tree("".join(linecache.getlines(code.co_filename, function.__globals__))))
    found = [node for node in nodes if isinstance(node, _FunctionNode)]
    return _only(
        node for node in found if _first_line(node) == code.co_firstlineno and _name(node) == code.co_name
    )


def class_node(cls: type) -> ast.AST | None:
    """The class's definition, cleaned; None without source, or where two of that name differ."""
    module = sys.modules.get(cls.__module__)
    spaces = {} if module is None else vars(module)
    methods = [member for member in vars(cls).values() if isinstance(member, FunctionType)]
    # The module's file first: a dataclass or an enumeration has methods that come from elsewhere.
    files = [str(spaces.get("__file__", "")), *(method.__code__.co_filename for method in methods)]
    trees = (_tree("".join(linecache.getlines(file, spaces))) for file in files)
    found = (
        _only(node for node, name in _named_classes(tree, "") if name == cls.__qualname__) for tree in trees
    )
    return next((node for node in found if node is not None), None)


def _named_classes(node: ast.AST, prefix: str) -> Iterator[tuple[ast.AST, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield child, prefix + child.name
            yield from _named_classes(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _named_classes(child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _named_classes(child, prefix)


def _only(nodes: Iterable[ast.AST]) -> ast.AST | None:
    """The one node there is, cleaned; None if there is none or if two of them differ."""
    different = {canonical(cleaned): cleaned for cleaned in map(_cleaned, nodes)}
    return next(iter(different.values())) if len(different) == 1 else None


def _first_line(node: _FunctionNode) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(item.lineno for item in decorators)])


def _name(node: _FunctionNode) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _cleaned(node: ast.AST) -> ast.AST:
    """A copy without docstrings, and without a function's decorators: what they made of it is followed."""
    clean = copy.deepcopy(node)
    if isinstance(clean, ast.FunctionDef | ast.AsyncFunctionDef):
        clean.decorator_list = []
    for inner in ast.walk(clean):
        body = getattr(inner, "body", None)
        if isinstance(body, list):
            kept = [line for line in body if not _is_text(line)]
            setattr(inner, "body", kept or [ast.Pass()])  # noqa: B010 - the node's type is not known here
    return clean


def _is_text(line: ast.AST) -> bool:
    constant = line.value if isinstance(line, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def canonical(node: object) -> str:
    """Text of a syntax tree that does not vary with the Python version: empty fields are left out."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in _SILENT)
        inner = (f"{name}={canonical(value)}" for name, value in fields if value is not None and value != [])
        return f"{type(node).__name__}({','.join(inner)})"
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    return f"{type(node).__name__}:{node!r}"


class _WithoutTypes(ast.NodeTransformer):
    """Take annotations away: they are part of the text, but what they name is not followed."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)


def outer_names(node: ast.AST) -> set[str]:
    """Names that the code takes from outside itself; for a class, its decorators and bases too."""
    bare = _WithoutTypes().visit(copy.deepcopy(node))
    top = symtable(ast.unparse(bare), "<code>", "exec")
    names = {name for table in _tables(top) for name in _global_names(table)}
    if isinstance(node, ast.ClassDef):
        names |= {name for name in top.get_identifiers() if name != node.name}
    return names


def _tables(table: SymbolTable) -> Iterator[SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _tables(child)


def _global_names(table: SymbolTable) -> set[str]:
    symbols = (symbol for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced())
    return {symbol.get_name() for symbol in symbols}


def dotted_names(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every name and dotted name: ``np.linalg.norm`` is one path."""
    path = _path(node)
    if path:
        yield path
        return
    for child in ast.iter_child_nodes(node):
        yield from dotted_names(child)


def _path(node: ast.AST) -> tuple[str, ...] | None:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        inner = _path(node.value)
        return (*inner, node.attr) if inner else None
    return None


def dynamic_calls(node: ast.AST) -> Iterator[str]:
    """Calls that reach code by a name made at run time."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            name = ".".join(_path(call.func) or ())
            by_name = name == "getattr" and not isinstance(call.args[1], ast.Constant)
            if by_name or name in _DYNAMIC or name.endswith("import_module"):
                yield name


__all__ = ["canonical", "class_node", "dotted_names", "dynamic_calls", "function_node", "outer_names"]
