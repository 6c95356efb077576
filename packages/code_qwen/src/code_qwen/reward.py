"""The reward `code` (entry point group `qwen.rewards`): 1 for a program that passes its tests, else 0."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Sequence
from typing import Any

from code_qwen.extract import extract, split
from code_qwen.sandbox import Submission, run_tests_many

_TESTS = ("test", "tests", "test_list")


def passed(
    prompts: Sequence[Any], completions: Sequence[Any], timeout: float = 3.0, **columns: Sequence[Any]
) -> list[float]:
    """1.0 for each completion whose program passes its tests within `timeout` seconds, else 0.0.

    `completions`: texts, or lists of messages whose last one counts. Prompts are not read. Columns:

    - `test` (or `tests`, `test_list`): a text or a list of assert statements
    - `entry_point` (optional): the requested function; default: the first one that the tests call
    - `setup` (optional): trusted code before the program and its tests

    Raises ValueError if there is no column of tests, lengths differ, a value has another type, or tests define
    `check(candidate)` without `entry_point`.
    """
    name = next((column for column in _TESTS if column in columns), None)
    if name is None:
        has = ", ".join(sorted(columns)) or "none"
        raise ValueError(f"the reward needs the tests in a column `test` (or `tests`, `test_list`); columns: {has}")
    tests = columns[name]
    entries = columns.get("entry_point", [None] * len(tests))
    setups = columns.get("setup", [None] * len(tests))
    if not len(tests) == len(completions) == len(prompts) == len(entries) == len(setups):
        raise ValueError(f"{len(prompts)} prompts, {len(completions)} completions, {len(tests)} in the column `{name}`")
    jobs = [
        _job(_text(completion, k), _test(test, k, name), _entry_point(entry, test, k), setup or "", timeout)
        for k, (completion, test, entry, setup) in enumerate(zip(completions, tests, entries, setups, strict=True))
    ]
    return [1.0 if verdict.passed else 0.0 for verdict in run_tests_many(jobs)]


def _job(text: str, test: str, entry_point: str, setup: str, timeout: float) -> Submission:
    name = entry_point or _called_function(test)
    prompt, completion = split(extract(text, name, setup), setup, name)
    return Submission(prompt, completion, test, name if _has_check(test) else "", timeout)


def _has_check(test: str) -> bool:
    return re.search(r"^def check\(", test, re.MULTILINE) is not None


def _entry_point(value: Any, test: Any, k: int) -> str:
    if not value and isinstance(test, str) and _has_check(test):
        raise ValueError(
            f"the tests at {k} define check(candidate): which function that is must stand in the column `entry_point`"
        )
    return value or ""


def _called_function(test: str) -> str:
    """The first called function that the tests do not define; builtins count last."""
    try:
        nodes = list(ast.walk(ast.parse(test)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    names = [name for name in names if name not in own]
    return next((name for name in names if not hasattr(builtins, name)), next(iter(names), ""))


def _test(test: Any, k: int, name: str) -> str:
    if isinstance(test, str):
        return test
    if isinstance(test, list | tuple) and all(isinstance(line, str) for line in test):
        return "\n".join(test)
    raise ValueError(f"the column `{name}` holds {type(test).__name__} at {k}: a text or a list of texts is wanted")


def _text(completion: Any, k: int) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, list | tuple) and completion and isinstance(completion[-1], dict):
        content = completion[-1].get("content")
        if isinstance(content, str):
            return content
    raise ValueError(f"completion {k} is neither a text nor a list of messages")
