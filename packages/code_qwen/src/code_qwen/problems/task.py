"""A task with its solution and test."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

Value = int | str | float | None


@dataclass(frozen=True, slots=True)
class Task:
    """A small function to write.

    `form`: "instruction" (the prompt is a request) or "docstring" (the prompt is a signature with a docstring, valid
    Python). `solution`: the whole function with a final newline; it may follow the prompt of a docstring task, as the
    second definition replaces the first. `test` defines `check(candidate)` (HumanEval's form). `parameters`: values of
    the family's slots in order; with `family` they decide the split.
    """

    family: str
    form: str
    language: str
    prompt: str
    entry_point: str
    solution: str
    test: str
    parameters: tuple[Value, ...]


def messages(task: Task) -> list[dict[str, str]]:
    """A conversation of one turn. The answer to an instruction is a fenced block, to a docstring bare code."""
    code = f"```python\n{task.solution}```" if task.form == "instruction" else task.solution.rstrip("\n")
    return [{"role": "user", "content": task.prompt}, {"role": "assistant", "content": code}]


_SPACE = re.compile(r"\s+")


def normalise(prompt: str) -> str:
    """Lower case, one spelling of widths, single spaces. Signs stay, as they carry meaning. Two prompts with the same
    result are the same task.
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", prompt).lower()).strip()
