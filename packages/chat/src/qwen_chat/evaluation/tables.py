"""An evaluation's figures for people, in 80 columns."""

from __future__ import annotations

from typing import Any

from rich.console import Group

from qwen_chat.evaluation.run import Result
from qwen_shared.evaluation.results import figures_table, percent

_ROWS = 1000  # of a W&B table


def table(results: dict[str, Result], title: str) -> Group:
    """Right and ended answers and the preference score, and right answers by kind."""
    columns = {
        "right": lambda f: percent(f["accuracy"]),
        "95 %": lambda f: f"{100 * f['accuracy_low']:.1f} … {100 * f['accuracy_high']:.1f}",
        "ended": lambda f: percent(f["ended"]),
        "preference": lambda f: f"{f['preference']:.2f} ± {f['preference_std']:.2f}",
        "tokens": lambda f: f"{f['tokens']:.1f}",
    }
    tables = [figures_table({name: result.figures for name, result in results.items()}, columns, title)]
    kinds = {
        f"{task}/{kind}": figures
        for task, result in results.items()
        for kind, figures in result.groups.get("kind", {}).items()
    }
    if kinds:
        shown = {"right": lambda f: percent(f["accuracy"]), "problems": lambda f: f"{f['problems']:,}"}
        tables.append(figures_table(kinds, shown, None))
    return Group(*tables)


def answer_rows(result: Result) -> list[dict[str, Any]]:
    """The first answers, for a W&B table: the prompt as text."""
    return [
        row | {"prompt": "\n".join(f"{turn['role']}: {turn['content']}" for turn in row["prompt"])}
        for row in result.rows[:_ROWS]
    ]
