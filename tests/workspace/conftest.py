"""The workspace as its files say it: members, their sources, what they import."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Member:
    def __init__(self, folder: Path):
        self.folder = folder
        self.project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        (self.package,) = [path for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]

    def __repr__(self):
        return self.project["name"]

    def imports(self) -> Iterator[tuple[Path, str]]:
        """(file, module) of every import statement, wherever in the file it stands."""
        for path in sorted(self.package.rglob("*.py")):
            for module in imported_modules(path, self.package.parent):
                yield path, module


def imported_modules(path: Path, source_root: Path) -> Iterator[str]:
    """Dotted names of what a file imports; `from a import b` gives a.b, since b may be a module."""
    here = list(path.relative_to(source_root).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def members():
    return [
        Member(path.parent)
        for path in [*sorted(ROOT.glob("packages/*/pyproject.toml")), ROOT / "shared/pyproject.toml"]
    ]
