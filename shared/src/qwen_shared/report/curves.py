"""Curves as they are drawn: thousands of noisy points become a pale band of what was measured and a smooth line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

FEW = 60  # points up to here are drawn one by one
_COLUMNS = 200  # of a band, and of a smooth line
_WINDOW = 50  # the mean goes over a fiftieth of all points


@dataclass(frozen=True)
class Curve:
    """One metric over steps. `x` and `y` [N] are its line; `band` [M, 3] has step, lowest and highest of what was
    measured, or is None where the line is what was measured."""

    label: str
    x: np.ndarray
    y: np.ndarray
    band: np.ndarray | None
    last: float
    lowest: float
    highest: float

    @property
    def bounds(self) -> tuple[float, float]:
        """What the axis must span. A rare spike of the band may stick out."""
        low, high = float(self.y.min()), float(self.y.max())
        if self.band is not None:
            low = min(low, float(np.quantile(self.band[:, 1], 0.02)))
            high = max(high, float(np.quantile(self.band[:, 2], 0.98)))
        return low, high


def curve(records: list[dict[str, Any]], metric: str, label: str) -> Curve | None:
    """The curve of a metric that stands in at least two of the records, else None."""
    points = [(r["step"], v) for r in records if _is_number(v := r.get(metric))]
    if len(points) < 2:
        return None
    x, y = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    facts: dict[str, Any] = {"label": label, "last": float(y[-1]), "lowest": float(y.min()), "highest": float(y.max())}
    if len(x) <= FEW:
        return Curve(x=x, y=y, band=None, **facts)
    edges = np.unique(np.linspace(0, len(x), _COLUMNS + 1).astype(int))[:-1]
    band = np.stack([x[edges], np.minimum.reduceat(y, edges), np.maximum.reduceat(y, edges)], axis=1)
    kept = np.unique(np.linspace(0, len(x) - 1, _COLUMNS).astype(int))
    return Curve(x=x[kept], y=_running_mean(y)[kept], band=band, **facts)


def _running_mean(y: np.ndarray) -> np.ndarray:
    """The mean around each point [N] → [N]. Towards the beginning, where curves are steep, the window shrinks; at the
    end, where the newest figures are looked for, it reaches back as far as ever."""
    n = len(y)
    index = np.arange(n)
    back = np.minimum(max(2, n // _WINDOW // 2), index)
    ahead = np.minimum(back, n - 1 - index)
    sums = np.concatenate([[0.0], np.cumsum(y)])
    return (sums[index + ahead + 1] - sums[index - back]) / (back + ahead + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
