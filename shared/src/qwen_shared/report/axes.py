"""From values to places on the paper, and the round numbers beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

_DECADES = 2.0  # an axis that spans more is logarithmic


@dataclass(frozen=True)
class Axis:
    """Values `low` to `high` on pixels `start` to `end`; logarithmic where that shows more."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, low / 10)), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the axis, about `count` of them."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, (last - first) // count)
            return [10.0**power for power in range(first, last + 1, every)]
        raw = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]


def value_axis(bounds: list[tuple[float, float]], start: float, end: float, may_be_log: bool) -> Axis:
    """An axis that holds all bounds, with a little air."""
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if may_be_log and low > 0 and math.log10(high / low) > _DECADES:
        return Axis(low / 1.2, high * 1.2, start, end, log=True)
    air = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    # Shares, counts and losses do not go below nothing.
    return Axis(0.0 if low >= 0 > low - air else low - air, high + air, start, end)
