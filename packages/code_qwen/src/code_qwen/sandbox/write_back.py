"""Copies a program's changes of its arguments back to the tests' own values.

If the program returns None, it works in place: its changes are written back. If it also returns a value, only if they
cannot make a comparison true: a program that empties x and returns [] would pass `f(x) == sorted(x)`.
"""

from __future__ import annotations

import ast
import builtins
from typing import Any, TypeGuard


def is_safe_to_write_back(tree: ast.Module, theirs: set[str]) -> bool:
    """Whether no comparison and no other call in the tests `tree` takes two values that the program returned or may
    have changed. `theirs`: the program's names. Conservative: a name means the same everywhere, and names in one
    assignment or call may share parts.
    """
    theirs = {*theirs, *(node.args.args[0].arg for node in tree.body if _is_check(node))}
    nodes = list(ast.walk(tree))
    groups = [_names_that_share(node, theirs) for node in nodes]
    names, before = set(theirs), -1
    while before < len(names):
        before = len(names)
        for together in groups:
            if not names.isdisjoint(together):
                names |= together
    return all(sum(not names.isdisjoint(_loaded(part)) for part in _apart(node, theirs)) < 2 for node in nodes)


def write_back(ours: Any, theirs: Any) -> Any:
    """Change our argument as the program changed its copy. Returns the same object if possible."""
    if type(ours) is not type(theirs):
        return theirs
    if isinstance(ours, list):
        ours[:] = map(write_back, ours, theirs) if len(ours) == len(theirs) else theirs
    elif type(ours) is tuple and len(ours) == len(theirs):
        return tuple(map(write_back, ours, theirs))
    elif isinstance(ours, bytearray):
        ours[:] = theirs
    elif isinstance(ours, dict):
        items = {key: write_back(ours.get(key), value) for key, value in theirs.items()}
        ours.clear()
        ours.update(items)
    elif isinstance(ours, set):
        ours.clear()
        ours.update(theirs)
    elif type(ours).__name__ == "deque":
        ours.clear()
        ours.extend(theirs)
    elif isinstance(getattr(ours, "__dict__", None), dict):
        vars(ours).update(vars(theirs))
    else:
        return theirs
    return ours


def _is_check(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) > 0


def _names_that_share(node: ast.AST, theirs: set[str]) -> set[str]:
    """Names whose values may share parts after a statement or a call."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.NamedExpr | ast.AnnAssign | ast.For | ast.comprehension):
        parts = [getattr(node, name, None) for name in ("target", "value", "iter")] + getattr(node, "targets", [])
        return set().union(*(_given(part) for part in parts if part is not None))
    if isinstance(node, ast.withitem):
        return _given(node)
    if isinstance(node, ast.Call):
        called = {node.func.id} if isinstance(node.func, ast.Name) else set()
        return _given(node) | {name for name in called if name in theirs or not hasattr(builtins, name)}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not _is_check(node):
        return {node.name, *_loaded(node)}
    return set()


def _apart(node: ast.AST, theirs: set[str]) -> list[ast.expr]:
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in theirs):
        return [*node.args, *(keyword.value for keyword in node.keywords)]
    return []


def _loaded(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _given(node: ast.AST) -> set[str]:
    """Names in `node` without the called functions."""
    called = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return _loaded(node) - {function.id for function in called if isinstance(function, ast.Name)}
