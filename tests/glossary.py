"""The names of metrics and results that docs/runs.md explains."""

import functools
import re
from collections.abc import Iterable
from pathlib import Path

PATH = Path(__file__).parents[1] / "docs" / "runs.md"
_PLACEHOLDER = re.compile(r"\b(?:NAME|TASK|GROUP|MODEL|K)(?=\b|_)")  # a part of a name, such as a task's
_ANYTHING = "…"


@functools.cache
def explained_names() -> tuple[str, ...]:
    """The names in the first columns of the tables under "Metrics" and "Results", as written there."""
    sections = PATH.read_text(encoding="utf-8").split("\n## ")
    tables = [section for section in sections if section.startswith(("Metrics", "Results"))]
    assert len(tables) == 2
    cells = re.findall(r"^\| (`[^|]*`) \|", "\n".join(tables), re.MULTILINE)
    return tuple(name for cell in cells for name in re.findall(r"`([^`]+)`", cell))


def pattern(explained: str) -> re.Pattern[str]:
    """A name as docs/runs.md writes it, as a regular expression."""
    parts = _PLACEHOLDER.split(explained.removesuffix(_ANYTHING))
    end = ".+" if explained.endswith(_ANYTHING) else ""
    return re.compile("[^/]+".join(map(re.escape, parts)) + end)


def unexplained(names: Iterable[str]) -> list[str]:
    """Those of `names` without a line; `before/NAME` needs none if NAME has one."""
    patterns = [pattern(explained) for explained in explained_names()]
    bare = {name: name.removeprefix("before/") for name in names}
    return sorted(name for name, found in bare.items() if not any(p.fullmatch(found) for p in patterns))
