"""Imports of Python files, and imported files first."""

from code_qwen.corpus.order import imports_first, python_imports


def test_imports_of_python():
    source = """
import os, a.b as c
from . import sibling
from .near import thing, other as o
from ..up.mod import (x, y)
from top import *
def f():
    from late.one import z
text = "no import here"
"""
    found = python_imports(source, "pkg/sub/here.py")
    wanted = {"os", "a.b", "top", "pkg.sub.sibling", "pkg.sub.near", "pkg.sub.near.thing", "pkg.up.mod", "pkg.up.mod.x"}
    assert wanted | {"late.one"} <= set(found)
    assert python_imports("from ..... import x", "a.py") == []


def test_imported_files_come_first_and_circles_end():
    files = {
        "app.py": ["pkg.core", "pkg.util"],
        "pkg/__init__.py": [],
        "pkg/core.py": ["pkg.util", "pkg"],
        "pkg/util.py": ["pkg"],
        "src/z.py": ["y"],
        "src/y.py": [],
        "x1.py": ["x2"],
        "x2.py": ["x1", "x2"],
        "notes.c": [],
    }
    order = imports_first(sorted(files), lambda path: path, files.__getitem__)
    assert sorted(order) == sorted(files)
    for first, then in [
        ("pkg/__init__.py", "pkg/util.py"), ("pkg/util.py", "pkg/core.py"), ("pkg/core.py", "app.py"),
        ("src/y.py", "src/z.py"), ("x2.py", "x1.py"),
    ]:  # fmt: skip
        assert order.index(first) < order.index(then)
    chain = {f"m{i}.py": [f"m{i + 1}"] for i in range(5000)}  # no recursion
    assert imports_first(list(chain), lambda path: path, chain.__getitem__) == list(chain)[::-1]
