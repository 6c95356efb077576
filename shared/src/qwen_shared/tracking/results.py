"""A run's results as a table: what was measured, before training and after, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """One figure of the finished model; `low` and `high` are its interval, `before` the model's that it began from."""

    name: str
    after: float
    before: float | None = None
    low: float | None = None
    high: float | None = None


def measures(results: dict[str, Any]) -> list[Measure]:
    """Those of a manifest's results that say how good the model is: with an interval, on held-out data, or with a
    counterpart from before. Counts and the like are left out."""
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
    """The same for a table of W&B's."""
    return [
        {"measure": m.name, "before": m.before, "after": m.after, "low": m.low, "high": m.high}
        for m in measures(results)
    ]
