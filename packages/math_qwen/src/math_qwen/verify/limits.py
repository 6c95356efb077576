"""Every limit of the verifier, and the two ways in which reading can fail.

No limit depends on the speed of the machine: within them the work done in the caller's process is bounded by a
constant, and what needs sympy is done in another process, under a time limit.
"""

from __future__ import annotations

import threading

RESPONSE_CHARS = 100_000  # of a longer response only the end is read
ANSWER_CHARS = 3_000  # a longer final answer is compared as text only
TOKENS = 1_500
DEPTH = 40  # nested brackets, fractions, roots and powers
DIGITS = 1_000  # of one number
BITS = 100_000  # of a computed number
EXPONENT = 200  # to which a sum is raised
TERMS = 400  # of an expanded expression
ITEMS = 200  # of a list, set or tuple
MATRIX = 144  # entries
FACTORIAL = 2_000
SUM_TERMS = 500  # of a finite sum or product that is added up
LONGEST = 86_400  # seconds that a pair may be given
WORK = 100_000  # steps in the caller's process: a fraction of a second; what needs more goes to a worker
WORKER_WORK = 5_000_000


class Exhausted(Exception):
    """The work allowed in this process is used up."""


class Work(threading.local):
    """Counts the steps of exact algebra, so that no combination of permitted parts takes long."""

    left = WORK

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise Exhausted("too much to compute")


work = Work()


class Unreadable(ValueError):
    """The text is no mathematics that the parser knows."""


class TooLarge(ValueError):
    """Read, but not computed: beyond a limit."""
