"""Writes tests in HumanEval's form from a family's reference, and runs them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from random import Random

from code_qwen.problems.family import Family, Parameters


@lru_cache(maxsize=1 << 14)
def check_text(family: Family, parameters: Parameters) -> str:
    """The source of `check(candidate)`. The reference gives the expected values, not the solution."""
    lines = ["def check(candidate):"]
    for value in family.inputs(Random(f"inputs {family.name} {parameters!r}"), *parameters):
        expected = family.reference(deepcopy(value), *parameters)
        lines.append(f"    assert candidate({value!r}) == {expected!r}")
    return "\n".join(lines) + "\n"


def run_check(solution: str, entry_point: str, test: str) -> None:
    """Runs without a sandbox: never pass text of a model. Raises AssertionError if the solution fails its test."""
    names: dict[str, object] = {}
    exec(compile(solution, "<solution>", "exec"), names)
    _compiled(test)(names[entry_point])


@lru_cache(maxsize=1 << 14)
def _compiled(test: str) -> Callable[[object], None]:
    names: dict[str, Callable[[object], None]] = {}
    exec(compile(test, "<test>", "exec", optimize=0), names)  # keep asserts under python -O
    return names["check"]
