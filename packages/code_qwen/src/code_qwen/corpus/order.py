"""Orders the files of a repository so that imported files come first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<from>\.*[\w.]*)[ \t]+import[ \t]+\(?(?P<names>[\w \t,]*)"
    r"|import[ \t]+(?P<modules>[\w., \t]+))",
    re.M,
)
_SOURCE_FOLDERS = ("src", "lib", "python")


def python_imports(text: str, path: str) -> list[str]:
    """Modules that a file may import, by their names in the repository: `a.b` for a/b.py."""
    package = PurePosixPath(path).parent.parts
    found: dict[str, None] = {}
    for match in _IMPORT.finditer(text):
        if match["modules"]:
            found |= dict.fromkeys(part.split()[0] for part in match["modules"].split(",") if part.split())
            continue
        level = len(match["from"]) - len(match["from"].lstrip("."))
        parts = [part for part in match["from"].split(".") if part]
        if level:
            if level - 1 > len(package):
                continue
            parts = [*package[: len(package) - level + 1], *parts]
        # An imported name may itself be a module.
        names = [name.split()[0] for name in match["names"].split(",") if name.split()]
        found |= dict.fromkeys([".".join([*parts, name]) for name in names] + [".".join(parts)])
    return [name for name in found if name]


def imports_first[T](
    files: Sequence[T], path_of: Callable[[T], str], imports_of: Callable[[T], Iterable[str]]
) -> list[T]:
    """Each file comes after the files that it imports; in a cycle the first stays first."""
    modules: dict[str, int] = {}
    for i, file in enumerate(files):
        for name in _module_names(path_of(file)):
            modules.setdefault(name, i)
    needs = [[modules[name] for name in imports_of(file) if modules.get(name, i) != i] for i, file in enumerate(files)]
    order: list[int] = []
    entered = [False] * len(files)
    for first in range(len(files)):
        stack = [] if entered[first] else [(first, iter(needs[first]))]
        entered[first] = True
        while stack:
            index, rest = stack[-1]
            following = next((other for other in rest if not entered[other]), None)
            if following is None:
                order.append(index)
                stack.pop()
            else:
                entered[following] = True
                stack.append((following, iter(needs[following])))
    return [files[i] for i in order]


def _module_names(path: str) -> Iterator[str]:
    parts = PurePosixPath(path)
    if parts.suffix not in (".py", ".pyi", ".pyx"):
        return
    names = [*parts.parent.parts, *([] if parts.stem == "__init__" else [parts.stem])]
    yield ".".join(names)
    if names and names[0] in _SOURCE_FOLDERS:
        yield ".".join(names[1:])
