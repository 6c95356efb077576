"""Whether an answer is right: by sympy, in bounded time, without ever running what a model wrote.

    verify("1/2", "So the answer is \\\\boxed{0.5}.").outcome    # Outcome.RIGHT

What counts as the same:

- an exact gold wants an exact answer: 0.333 is not 1/3, and a decimal stands for exactly what it says; 0.(3) is 1/3
- a unit left out or added is forgiven; two different units are not, and nothing is converted: 1 m is not 100 cm. An
  angle in degrees is also its value in radians. A percentage is its value: 50% is 1/2. A number in another base is its
  value
- `x = 5` may be answered 5, and `y = 2x + 1` by its right side; equations match up to a constant factor
- names and case of variables count, case of words does not
- inequalities, intervals and sets of reals match one another; open and closed ends differ
- sets and lists of solutions have no order, tuples have; matrices entry by entry, a column also as a tuple
- two expressions are equal where both are real at the same points and have the same value there: √(x²) is |x|, not x,
  and 2 ln x is not ln x². Where sympy finds no proof, agreement to 30 digits at no fewer than 3 generic points counts
  as one
- `F + C` is the same for every name of the constant and every number added to it
- in a whole response the last box counts, else what follows ####, `final answer` or `the answer is`, else the last
  value; two answers where gold has one, a denied answer, an empty box and an empty response are wrong
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from math_qwen.verify.grader import grade_answer, grade_response
from math_qwen.verify.limits import LONGEST
from math_qwen.verify.pool import prove, run
from math_qwen.verify.verdict import Outcome, Verdict

__all__ = ["Outcome", "Verdict", "same_answer", "verify", "verify_many"]


# Whatever `judge` raises, NeedsProof above all, is left to a worker process, where a fault costs one verdict.


def verify(gold: str, prediction: str, timeout: float = 5.0) -> Verdict:
    """Whether `prediction`, a bare answer or a whole solution, gives the answer `gold`, which may be either too.

    Comes back no later than `timeout` + 1 seconds, whatever the texts hold; never raises for what they hold. Works
    from any thread and from a forked process. Raises TypeError where a text is no str, ValueError where `timeout` is
    not positive or longer than a day.
    """
    _check(gold, prediction, timeout)
    try:
        return grade_response(gold, prediction)
    except Exception:
        return prove(gold, prediction, timeout)


def same_answer(gold: str, prediction: str) -> bool:
    """Whether two bare answers are the same; no answer is looked for inside them. Same limits as `verify`, 5
    seconds.
    """
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
    """The verdicts on (gold, prediction) pairs, in their order, none left out.

    `workers`: processes for the pairs that need sympy, by default one for each core. `timeout`: seconds for each pair.
    `progress(done, all)` is called in this thread, at most a few hundred times. Raises as `verify`, before any work.
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

    open_pairs = []
    for number, (gold, prediction) in enumerate(pairs):
        try:
            verdicts[number] = grade_response(gold, prediction)
            count()
        except Exception:
            open_pairs.append((number, gold, prediction))
    for number, verdict in run(open_pairs, min(workers or _cores(), len(open_pairs)), timeout):
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
