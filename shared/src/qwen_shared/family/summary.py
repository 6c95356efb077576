"""One table of the whole family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_shared.family.runner import figures, manifest, missed
from qwen_shared.family.schema import Family, Stage

if TYPE_CHECKING:
    from rich.table import Table


def table(family: Family) -> Table:
    """A line for each stage and goal: what was to be reached, what was, how long it took."""
    from rich import box
    from rich.table import Table

    shown = Table(title=f"family {family.name}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("stage", "status", "took", "figure", "goal", "seen"):
        shown.add_column(name, justify="right" if name in ("took", "seen") else "left", overflow="fold")
    for stage in family.stages:
        found = figures(family, stage)
        rows = [(name, goal, f"{found[name]:.3f}" if name in found else "") for name, goal in stage.goals.items()]
        for i, (name, goal, seen) in enumerate(rows or [("", "", "")]):
            first = i == 0
            shown.add_row(
                stage.name if first else "",
                _status(family, stage) if first else "",
                _took(found.get("seconds")) if first else "",
                name,
                goal,
                seen,
            )
    return shown


def _status(family: Family, stage: Stage) -> str:
    own = manifest(family, stage)
    if own is None:
        return "not begun"
    return "goal missed" if own.status == "finished" and missed(family, stage) else own.status


def _took(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02}"
