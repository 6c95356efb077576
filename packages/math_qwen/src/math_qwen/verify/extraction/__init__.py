"""Where the answer stands in a response: `response`, then `boxes` and `multiple_choice`."""

from __future__ import annotations

import re
from dataclasses import dataclass

DENIED_BEFORE = re.compile(
    r"(?:\bnot|n't(?:\s+have)?|\bcannot\s+(?:be|have)|\breject|\bdiscard|\bexclude|\brule\s+out|排除|舍去|\bnever|\bneither|≠|\\neq?|不是|并非|不等于|不为|而非|rather\s+than|instead\s+of|other\s+than)"
    r"(?:\s+(?:be|equal(?:\s+to)?|simply|just|the\s+answer|exactly))?[\s$:*\\(\[]*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Final:
    candidates: tuple[str, ...]  # the first that parses as mathematics counts
    found_by: str  # "box", "####", "phrase", "whole", "last value"
    denied: bool = False
