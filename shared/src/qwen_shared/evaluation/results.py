"""Writes results: tables, `evaluation.json`, the run's manifest and W&B."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.evaluation.task import Cells, Metrics, Row
from qwen_shared.files import write_atomic

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from qwen_shared.evaluation.run import Result
    from qwen_shared.recipe.schema import Tracking

REPORT = "evaluation.json"
TABLE_ROWS = 1000  # of a W&B table


def report_of(model: str, results: Mapping[str, Result], named: Metrics, **said: Any) -> dict[str, Any]:
    r"""`evaluation.json` of any verb.

    Keys: `model`; `said` (weights, style, system, settings, …); `tasks`: per task its source, metrics, and metrics by
    group and value; `results`: metrics by their names in the manifest.
    """
    facts: dict[str, Any] = {}
    for result in results.values():
        facts |= result.facts
    return {"model": model, **said, **facts, "tasks": {k: _of_task(v) for k, v in results.items()}, "results": named}


def _of_task(result: Result) -> dict[str, Any]:
    task, hub = result.task, result.task.hub
    revision = hub.revision if hub and not task.path else None
    problems = {"place": task.place, "revision": revision, "problems_sha256": result.problems_sha256}
    return problems | {"metrics": result.metrics, "by": result.groups}


def write_report(directory: Path, report: Mapping[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def read_report(directory: Path) -> dict[str, Any]:
    """A directory's `evaluation.json`; {} if it cannot be read."""
    try:
        return json.loads((directory / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def read_results(directory: Path) -> Metrics:
    """Metrics by their names in the manifest; {} if there is no report."""
    report = read_report(directory)
    if "results" in report:
        return report["results"]
    # Older reports have flat names of before training, or metrics beside a task's `by`.
    named = {f"eval/{task}/{key}": v for task, old in report.get("tasks", {}).items() for key, v in old.items()}
    return {name: value for name, value in (report | named).items() if isinstance(value, int | float)}


def tell_run(run_dir: Path, tracking: Tracking, named: Metrics, tables: Mapping[str, list[Row]]) -> None:
    """Puts metrics of the last checkpoint into the run's manifest and W&B run, with tables of answers."""
    from qwen_shared.report import refresh_report
    from qwen_shared.run import Manifest
    from qwen_shared.run.manifest import own_recipe
    from qwen_shared.tracking.results import result_rows
    from qwen_shared.tracking.wandb_run import WandbRun

    manifest = Manifest.read(run_dir)
    wandb = WandbRun(run_dir, own_recipe(run_dir), tracking, manifest)
    wandb.summary(named)
    for name, rows in tables.items():
        wandb.table(None, name, rows)
    wandb.table(None, "eval/results", result_rows(manifest.results | named))
    wandb.finish(failed=False)
    manifest = Manifest.read(run_dir)  # read again: the upload may have taken long
    manifest.results = manifest.results | named
    manifest.wandb_run_id, manifest.wandb_url = wandb.id, wandb.url
    manifest.write(run_dir)
    refresh_report(run_dir)


def answer_rows(result: Result) -> list[Row]:
    """The first rows, flat, for W&B."""
    return [flat(row) for row in result.rows[:TABLE_ROWS]]


def flat(row: Row) -> Row:
    """Groups become columns; lists and objects are dropped."""
    columns = {key: value for key, value in row.items() if not isinstance(value, list | dict)}
    return columns | {key: value for key, value in row["groups"].items() if key not in columns}


def results_table(results: Mapping[str, Result], title: str) -> Group:
    """80 columns wide: metrics and outcomes per kind of task, then metrics by logged group."""
    from rich.console import Group

    kinds: dict[Any, dict[str, list[Cells]]] = {}
    groups: dict[Any, dict[str, Cells]] = {}
    for name, result in results.items():
        kind = result.task.measure, result.task.outcomes
        kinds.setdefault(kind, {})[name] = result.task.cells(result.metrics)
        for group in result.task.shown_groups:
            for value, metrics in result.groups.get(group, {}).items():
                groups.setdefault(kind, {})[f"{name}/{value}"] = result.task.group_cells(metrics)
    tables: list[Table] = []
    for kind, of_kind in kinds.items():
        for cells in zip(*of_kind.values(), strict=True):
            tables.append(cells_table(dict(zip(of_kind, cells, strict=True)), title if not tables else None))
        if kind in groups:
            tables.append(cells_table(groups[kind], None, "of these"))
    return Group(*tables)


def cells_table(rows: Mapping[str, Cells], title: str | None, first: str = "task") -> Table:
    """One row per name; missing cells are empty."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title and escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column(first, overflow="fold")
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, cells in rows.items():
        shown.add_row(escape(name), *(cells.get(column, "") for column in columns))
    return shown
