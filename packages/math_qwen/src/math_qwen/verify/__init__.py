"""Whether an answer is right: compared as mathematics, in bounded time, without running anything a model wrote.

    verify("1/2", "So the answer is \\boxed{0.5}.").outcome    # Outcome.RIGHT

What counts as the same:

- Exact gold wants an exact answer: 0.333 is not 1/3; 0.(3) is. 50% is 1/2. A number in another base is its value.
- A unit may be left out or added. Two different units differ, and nothing is converted: 1 m is not 100 cm. Only an
  angle in degrees equals its value in radians.
- `x = 5` may be answered 5, and `y = 2x + 1` by its right side. Equations match up to a constant factor.
- Names and case of variables count; case of words does not.
- Inequalities, intervals and sets of reals match one another; open and closed ends differ.
- Sets and lists of solutions have no order, tuples have. A column matrix may be a tuple.
- Expressions are equal if they are real at the same points, with equal values: √(x²) is |x|, not x. Without a proof,
  agreement to 30 digits at three or more generic points counts.
- `F + C` is the same for every name of the constant and every number added to it.
- In a response the last box counts, else the text after `####`, `final answer` or `the answer is`, else the last value.
  Two answers for one, a denied answer, an empty box and an empty response are wrong.

Why it exists beside math-verify, which training and evaluation could call instead:

- Speed. 10,873 pairs/s against 766, 14 times as many: medians of three rounds over 2,000 ordinary pairs on two
  processes (`uv run benchmarks/verifier.py`; benchmarks/results/2026-11-21-amd-epyc-family-26-model-2-verifier.json).
  Most pairs need exact fractions of polynomials only; sympy, alone in the workers, sees the few others.
- Cases. tests/math_qwen/verify/cases holds 2,526 pairs with their verdicts: Chinese and English words, units, money,
  multiple choice, denials, sets, matrices, congruences, cases. All are met; math-verify, which has other rules, gives
  the same verdict on 1,254 (`uv run benchmarks/verifier.py PAIRS.jsonl` compares the two on any file). A thousand
  random pairs hold every shortcut against sympy (`test_shortcuts_agree_with_sympy`).
- Guarantees. No text reaches `eval` or sympy's parser. The caller's process does a bounded number of steps; a worker
  has a time limit that the kernel enforces inside C calls too, and 1 GiB of memory. math-verify relies on alarms, which
  work in the main thread only. A hang, a crash or a kill costs one verdict (131 hostile texts).
  It works from threads and forked processes. A worker's start is not part of an answer's time.
- Alone. Importing it loads the standard library and this package only.

Reading order: `grader`, then `extraction`, `parsing`, `comparison`; `pool` and `worker` for processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from math_qwen.verify.grader import grade_answer, grade_response
from math_qwen.verify.limits import LONGEST
from math_qwen.verify.pool import prove, run
from math_qwen.verify.verdict import Outcome, Verdict

__all__ = ["Outcome", "Verdict", "same_answer", "verify", "verify_many"]


# Any exception, above all NeedsProof, sends the pair to a worker, where a fault costs one verdict.


def verify(gold: str, prediction: str, timeout: float = 5.0) -> Verdict:
    """Whether `prediction` gives the answer `gold`; each may be a bare answer or a whole solution.

    `timeout`: seconds from when a ready worker takes the pair. Works from any thread and from a forked process. Raises
    TypeError if a text is no str, ValueError if `timeout` is not positive or longer than a day, RuntimeError if no
    worker can be started; nothing for the content of the texts.
    """
    _check(gold, prediction, timeout)
    try:
        return grade_response(gold, prediction)
    except Exception:
        return prove(gold, prediction, timeout)


def same_answer(gold: str, prediction: str) -> bool:
    """As `verify`, for two bare answers: nothing is extracted."""
    _check(gold, prediction, 5.0)
    try:
        return grade_answer(gold, prediction).right
    except Exception:
        return prove(gold, prediction, 5.0, bare=True).right


def verify_many(
    pairs: Iterable[tuple[str, str]],
    workers: int | None = None,
    timeout: float = 5.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """The verdicts on (gold, prediction) pairs, in order.

    `workers`: processes for pairs that need sympy (default: one per core). `timeout`: seconds for each pair.
    `progress(done, all)` is called in this thread, at most a few hundred times. Raises as `verify`.
    """
    pairs = [(gold, prediction) for gold, prediction in pairs]
    for gold, prediction in pairs:
        _check(gold, prediction, timeout)
    verdicts: list[Verdict | None] = [None] * len(pairs)
    done, step = 0, max(1, len(pairs) // 200)

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None and (done % step == 0 or done == len(pairs)):
            progress(done, len(pairs))

    unproved = []
    for number, (gold, prediction) in enumerate(pairs):
        try:
            verdicts[number] = grade_response(gold, prediction)
            count()
        except Exception:
            unproved.append((number, gold, prediction))
    for number, verdict in run(unproved, min(workers or _cores(), len(unproved)), timeout):
        verdicts[number] = verdict
        count()
    assert None not in verdicts
    return verdicts  # type: ignore[return-value]


def _check(gold: str, prediction: str, timeout: float) -> None:
    if not isinstance(gold, str) or not isinstance(prediction, str):
        wrong = gold if not isinstance(gold, str) else prediction
        raise TypeError(f"gold and prediction must be str, not {type(wrong).__name__}")
    if not 0 < timeout <= LONGEST:
        raise ValueError(f"timeout must be positive and at most {LONGEST:,} seconds, not {timeout}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
