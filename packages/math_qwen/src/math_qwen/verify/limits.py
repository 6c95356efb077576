"""The verifier's limits, independent of the machine's speed, and the two ways in which reading can fail.

They bound the work in the caller's process; a pair that needs sympy goes to a worker with a time limit.
"""

from __future__ import annotations

import threading

RESPONSE_CHARS = 100_000  # only the end of a longer response is read
ANSWER_CHARS = 3_000  # a longer final answer is compared as text only
TOKENS = 1_500
DEPTH = 40  # nested brackets, fractions, roots and powers
DIGITS = 1_000  # of one number
BITS = 100_000  # of a computed number
EXPONENT = 200  # of a sum
TERMS = 400  # of an expanded expression
ITEMS = 200  # of a list, set or tuple
MATRIX = 144  # entries
FACTORIAL = 2_000
SUM_TERMS = 500  # of a finite sum or product
LONGEST = 86_400  # seconds that a pair may be given
STEPS = 100_000  # steps in the caller's process, a fraction of a second
WORKER_STEPS = 5_000_000


class Exhausted(Exception):
    pass


class StepBudget(threading.local):
    """Bounds the steps of exact algebra."""

    left = STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Exhausted("too much to compute")


budget = StepBudget()


class Unparsable(ValueError):
    """Unknown mathematics, or an expression without a value."""


class TooLarge(ValueError):
    pass
