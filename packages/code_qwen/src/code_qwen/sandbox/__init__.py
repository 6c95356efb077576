"""Programs of unknown intent, run and tested.

    run("print(6 * 7)").stdout                                   # "42\\n"
    passes("def f(x):\\n", "    return x + 1\\n", "def check(f):\\n    assert f(1) == 2\\n", "f", timeout=3.0)

A program runs in a process of its own, confined by what the machine offers; `isolation()` says what that holds. Its
tests run in another process, and the verdict is theirs.
"""

from __future__ import annotations

from code_qwen.sandbox.isolation import Guarantee, isolation, require_isolation
from code_qwen.sandbox.outcome import Execution, Limits, Outcome, Program, Submission, Verdict
from code_qwen.sandbox.pool import run_many, run_tests_many

__all__ = [
    "Execution",
    "Guarantee",
    "Limits",
    "Outcome",
    "Program",
    "Submission",
    "Verdict",
    "isolation",
    "passes",
    "require_isolation",
    "run",
    "run_many",
    "run_tests",
    "run_tests_many",
]


def run(program: str, stdin: str = "", limits: Limits = Limits()) -> Execution:  # noqa: B008 (frozen)
    """Run `program`, a text of Python, to its end or to a limit. Never raises for what it does.

    It sees the standard library, its input, and an empty temporary directory, which is its working directory. Works
    from any thread. Raises TypeError where a text is no str, UserError where the machine has no sandbox at all.
    """
    return run_many([Program(program, stdin, limits)], workers=1)[0]


def passes(prompt: str, completion: str, test: str, entry_point: str, timeout: float) -> bool:
    """Whether `prompt + completion` passes `test` (HumanEval's form, see `Submission`) within `timeout` seconds."""
    return run_tests(prompt, completion, test, entry_point, timeout).passed


def run_tests(prompt: str, completion: str, test: str, entry_point: str = "", timeout: float = 3.0) -> Verdict:
    """As `passes`, with the reason. Comes back soon after `timeout` seconds, whatever the program does; the start of
    the interpreters is not counted.
    """
    return run_tests_many([Submission(prompt, completion, test, entry_point, timeout)], workers=1)[0]
