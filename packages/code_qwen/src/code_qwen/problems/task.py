"""A task with its solution and test, and when two tasks are the same."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

Value = int | str | float | None


@dataclass(frozen=True, slots=True)
class Task:
    """A small function to write.

    `form` is "instruction" (the prompt is a request) or "docstring" (the prompt is a signature with its docstring:
    valid Python whose body is only that docstring). `solution` is the whole function in either form and ends with a
    newline; it may also stand after the prompt of a docstring task, as the second definition replaces the first. `test`
    has HumanEval's form: it defines `check(candidate)`. `parameters` are the values that the prompt names, in the order
    of the family's slots: with `family` they say on which side of the split the task is.
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
    """The task as a conversation of one turn: a request is answered with a fenced block, a docstring with bare code."""
    code = f"```python\n{task.solution}```" if task.form == "instruction" else task.solution.rstrip("\n")
    return [{"role": "user", "content": task.prompt}, {"role": "assistant", "content": code}]


_SPACE = re.compile(r"\s+")


def normalise(prompt: str) -> str:
    """A prompt in one spelling: two tasks that share it are one task.

    Lower case, one spelling of widths, single spaces. Signs and punctuation stay, as they can be what is asked for.
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", prompt).lower()).strip()
