"""The published rules of comparison."""

from __future__ import annotations

import math
import re

# A sign belongs to a number unless it could subtract from what stands before it.
_NUMBER = re.compile(r"(?:(?<![0-9A-Za-z)])[-+])?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


def last_number(text: str) -> float | None:
    """The last number in digits, signed, with or without thousands commas, or None."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def loosely_equal(gold: str, prediction: str) -> bool:
    """GSM8K's published rule (report, section 9): the last numbers of both, equal to 1e-4."""
    wanted, got = last_number(gold), last_number(prediction)
    return wanted is not None and got is not None and math.isclose(wanted, got, rel_tol=0.0, abs_tol=1e-4)


def math401_error(gold: str, prediction: str) -> tuple[float, float] | None:
    """Math401's measures: the absolute difference, and min(10, |difference| / max(|gold|, 1)); None for no number."""
    wanted, got = last_number(gold), last_number(prediction)
    if wanted is None or got is None or not math.isfinite(got):
        return None
    difference = abs(got - wanted)
    return difference, min(10.0, difference / max(abs(wanted), 1.0))
