"""What the verifier says of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"  # gold or prediction could not be read, or is too large to be computed
    TIMEOUT = "timeout"
    CRASH = "crash"  # the process that judged the pair ran out of memory or stack, or died


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reason: str  # one short line for people

    @property
    def right(self) -> bool:
        return self.outcome is Outcome.RIGHT
