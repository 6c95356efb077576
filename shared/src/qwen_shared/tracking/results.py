"""A run's results as a table of measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """`low` and `high` are the interval of `after`, `before` is the parent model's result."""

    name: str
    after: float
    before: float | None = None
    low: float | None = None
    high: float | None = None


def measures(results: dict[str, Any]) -> list[Measure]:
    """The results with an interval or on held-out data, which measure quality."""
    found = []
    for name, value in results.items():
        base, _, end = name.rpartition("_")
        bound = end in ("low", "high") and base in results
        deviation = end == "std"
        if name.startswith("before/") or name.endswith("/bytes") or bound or deviation:
            continue
        low, high = results.get(f"{name}_low"), results.get(f"{name}_high")
        if low is not None or name.startswith("val/"):
            found.append(Measure(name, value, results.get(f"before/{name}"), low, high))
    return found


def result_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"measure": m.name, "before": m.before, "after": m.after, "low": m.low, "high": m.high}
        for m in measures(results)
    ]
