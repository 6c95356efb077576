from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"  # gold or prediction is no known mathematics, or too large to compute
    TIMEOUT = "timeout"
    CRASH = "crash"  # the grading process died or ran out of memory or stack


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reason: str  # one short line for people

    @property
    def right(self) -> bool:
        return self.outcome is Outcome.RIGHT
