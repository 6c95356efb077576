"""Run untrusted Python programs, and test them so that they cannot forge the result. Usable alone.

    run("print(6 * 7)").stdout                                   # "42\\n"
    passes("def f(x):\\n", "    return x + 1\\n", "def check(f):\\n    assert f(1) == 2\\n", "f", timeout=3.0)
    isolation()                                                  # what this machine guarantees, and how

Needs Linux and Python's standard library: no root, no daemon, no binary. `run_many` and `run_tests_many` use every
core; all functions work from any thread.

Why not bubblewrap, a container, or `exec` with limits as in HumanEval's harness?

- There the tests run in the program's own interpreter. The program can patch `assert`, override `__eq__`, read the
  expected value from a frame or exit with 0, and a policy trained on this reward learns to. Here the tests run in a
  second process, call the program's functions from outside, and receive plain values of exact types.
  `tests/code_qwen/sandbox/test_forgery.py` holds 89 forgeries; none passes.
- bubblewrap needs a binary and user namespaces, which many containers forbid. `probe` finds the strongest mechanism
  that works: namespaces, else Landlock and seccomp, else another user. `isolation()` says what is held, and
  `require_isolation()` refuses a machine that holds too little.
- bubblewrap limits neither time, memory, processes, files nor output, and cannot say which limit ended a program;
  `Outcome` and `reason` do. `test_hostile.py` holds 53 programs that break limits and 55 that reach outside.
- Speed: a worker builds the root directory once and clones it for each program. On 2 cores `run` costs 7.3 ms and
  `run_tests` 10.2 ms beyond a bare `python -c` (10.5 ms): 65 programs a second. All 164 + 474 reference solutions of
  HumanEval and MBPP pass, HumanEval's 164 empty bodies fail. (`uv run benchmarks/sandbox.py --humaneval FILE --mbpp
  FILE`, in `benchmarks/results/2026-11-21-amd-epyc-family-26-model-2-sandbox.json`)

Reading order: `outcome` (the data), `pool` (the caller's side), `supervisor` (one trusted process for each worker),
`box` (one confined process, by `namespaces`, `landlock`, `seccomp`, `kernel`); then for tests `tester`, `remote`,
`wire`, `write_back` (trusted) and `guest` (the program's side).

Rules that hold throughout: nothing that a program sends is trusted or unpickled; a program that ends, dies or stays
silent never passes; every box ends with its supervisor, and every supervisor with the process that started it.
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
    """Run `program` (Python source) to its end or to a limit; never raises for what it does.

    It sees the standard library, `stdin` and an empty working directory. Raises TypeError if an argument is not a str,
    UserError if this machine has no sandbox.
    """
    return run_many([Program(program, stdin, limits)], workers=1)[0]


def passes(prompt: str, completion: str, test: str, entry_point: str, timeout: float) -> bool:
    """Whether `prompt + completion` passes `test` (see `Submission`) within `timeout` seconds."""
    return run_tests(prompt, completion, test, entry_point, timeout).passed


def run_tests(prompt: str, completion: str, test: str, entry_point: str = "", timeout: float = 3.0) -> Verdict:
    """As `passes`, with the reason. Returns soon after `timeout` seconds; starting the interpreters is not counted."""
    return run_tests_many([Submission(prompt, completion, test, entry_point, timeout)], workers=1)[0]
