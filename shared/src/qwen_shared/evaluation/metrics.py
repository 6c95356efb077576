"""Shares of right answers, their intervals, and metrics by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

_Z95 = 1.959963984540054
_GROUPS = 40  # more values make no useful breakdown


def wilson(right: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of `right` of `count`; (0, 1) if `count` is 0."""
    if not count:
        return 0.0, 1.0
    share, z2 = right / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_with_interval(name: str, rows: Sequence[Mapping[str, Any]], samples: int) -> dict[str, float]:
    """The mean `score` as `name`, its 95 % interval as `name_low` and `name_high`. The interval counts problems."""
    shares = [fmean(row["score"] for row in part) for part in parts(rows, samples)]
    low, high = wilson(sum(shares), len(shares))
    return {name: fmean(shares), f"{name}_low": low, f"{name}_high": high}


def parts[T](rows: Sequence[T], samples: int) -> list[Sequence[T]]:
    """The rows of each problem; `samples` rows of a problem are adjacent."""
    return [rows[i : i + samples] for i in range(0, len(rows), samples)]


def by_group[T, M](
    groups: Sequence[Mapping[str, str]], members: Sequence[T], metrics: Callable[[list[T]], M]
) -> dict[str, dict[str, M]]:
    r"""`metrics` by group and value: {"family": {"sums": …}}. `groups`: those of each member.

    Leaves out groups with one value or more than 40.
    """
    grouped: dict[str, dict[str, list[T]]] = {}
    for of_member, member in zip(groups, members, strict=True):
        for key, value in of_member.items():
            grouped.setdefault(key, {}).setdefault(value, []).append(member)
    return {
        key: {value: metrics(of) for value, of in sorted(values.items())}
        for key, values in grouped.items()
        if 1 < len(values) <= _GROUPS
    }


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def decimals(value: float, places: int) -> str:
    return f"{value:.{places}f}"
