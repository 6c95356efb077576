"""Tests of HumanEval's form from a family's reference, and the proof that a solution passes them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from random import Random

from code_qwen.problems.family import Family, Parameters


@lru_cache(maxsize=1 << 14)
def check_of(family: Family, parameters: Parameters) -> str:
    """The text of `check(candidate)` for these parameters; what it expects is the reference's, not the solution's."""
    lines = ["def check(candidate):"]
    for value in family.inputs(Random(f"inputs {family.name} {parameters!r}"), *parameters):
        expected = family.reference(deepcopy(value), *parameters)
        lines.append(f"    assert candidate({value!r}) == {expected!r}")
    return "\n".join(lines) + "\n"


def prove(solution: str, entry_point: str, test: str) -> None:
    """Runs a solution made here against its test. Raises AssertionError where it fails.

    Both texts are this package's own, hence no sandbox; nothing that a model wrote may come here.
    """
    names: dict[str, object] = {}
    exec(compile(solution, "<solution>", "exec"), names)
    _compiled(test)(names[entry_point])


@lru_cache(maxsize=1 << 14)
def _compiled(test: str) -> Callable[[object], None]:
    names: dict[str, Callable[[object], None]] = {}
    exec(compile(test, "<test>", "exec", optimize=0), names)  # asserts stay, also under python -O
    return names["check"]
