"""Shares of right answers, their intervals, and metrics by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

_Z95 = 1.959963984540054
_GROUPS = 40  # a breakdown by more values than this says nothing


def wilson(right: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the share `right` of `count`; (0, 1) if nothing was counted."""
    if not count:
        return 0.0, 1.0
    share, z2 = right / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_with_interval(name: str, rows: Sequence[Mapping[str, Any]], samples: int) -> dict[str, float]:
    """The mean `score` of rows as `name`, with the ends of its 95 % interval, `name_low` and `name_high`.

    Several answers to one problem are not independent: the interval counts problems.
    """
    shares = [fmean(row["score"] for row in part) for part in parts(rows, samples)]
    low, high = wilson(sum(shares), len(shares))
    return {name: fmean(shares), f"{name}_low": low, f"{name}_high": high}


def parts[T](rows: Sequence[T], samples: int) -> list[Sequence[T]]:
    """The rows of each problem, if `samples` rows of a problem lie side by side."""
    return [rows[i : i + samples] for i in range(0, len(rows), samples)]


def by_group[T, M](
    groups: Sequence[Mapping[str, str]], members: Sequence[T], metrics: Callable[[list[T]], M]
) -> dict[str, dict[str, M]]:
    """`metrics` of the members with one value of a group: {"family": {"sums": …}}. `groups` are those of each member.

    A group with one value, or with very many, is left out.
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
