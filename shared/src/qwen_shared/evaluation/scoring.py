"""What is counted of right and wrong answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

_Z95 = 1.959963984540054
_GROUPS = 40  # of more values than this a breakdown says nothing


def wilson(right: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score. `right` of `count`; (0, 1) where nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, z2 = right / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def parts[T](rows: Sequence[T], samples: int) -> list[Sequence[T]]:
    """What belongs to each problem, of rows that lie `samples` to a problem."""
    return [rows[i : i + samples] for i in range(0, len(rows), samples)]


def by_group(
    groups: Sequence[Mapping[str, str]], shares: Sequence[float], measure: str
) -> dict[str, dict[str, dict[str, float]]]:
    """The mean share of right answers by family, level, …: {"family": {"sums": {"problems": 3, measure: 0.5}}}.

    `groups` and `shares` are those of each problem. A group of one value, or of very many, is left out.
    """
    grouped: dict[str, dict[str, list[float]]] = {}
    for of_problem, share in zip(groups, shares, strict=True):
        for key, value in of_problem.items():
            grouped.setdefault(key, {}).setdefault(value, []).append(share)
    return {
        key: {value: {"problems": len(of), measure: fmean(of)} for value, of in sorted(values.items())}
        for key, values in grouped.items()
        if 1 < len(values) <= _GROUPS
    }
