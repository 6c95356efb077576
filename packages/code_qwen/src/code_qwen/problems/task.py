"""A task with its solution and test."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

Value = int | str | float | None


@dataclass(frozen=True, slots=True)
class Task:
    """A small function to write.

    `form`: "instruction" (the prompt is a request) or "docstring" (a signature with a docstring, valid Python).
    `solution`: the whole function with a final newline; after the prompt of a docstring task, this second definition
    replaces the first. `test` defines `check(candidate)` (HumanEval's form). `parameters`: of the family's slots in
    order; with `family` they decide the split.
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
    """One turn. The answer to an instruction is a fenced block, to a docstring bare code."""
    code = f"```python\n{task.solution}```" if task.form == "instruction" else task.solution.rstrip("\n")
    return [{"role": "user", "content": task.prompt}, {"role": "assistant", "content": code}]


_SPACE = re.compile(r"\s+")


def normalise(prompt: str) -> str:
    """Prompts with the same result are one task. Lower case, one spelling of widths, single spaces; signs stay, as they
    carry meaning.
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", prompt).lower()).strip()
