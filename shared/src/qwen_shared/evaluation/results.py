"""Where an evaluation's figures go: a table for people, a directory, the run's manifest and W&B."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.report import refresh_report
from qwen_shared.run import Manifest
from qwen_shared.run.manifest import own_recipe

if TYPE_CHECKING:
    from rich.table import Table

    from qwen_shared.evaluation.prompts import Style
    from qwen_shared.recipe import RunRecipe

# They decide no task's figures.
_NEUTRAL = ("name", "tasks", "tracking.", "evaluation.batch_size", "evaluation.workers")


def style_of(prompt: str, directory: Path, run_dir: Path | None) -> Style:
    """`auto`: plain text for what a pretraining left and for a model without a chat template, else its template.

    `run_dir` is that of the model in `directory`, None where it is from elsewhere.
    """
    if prompt != "auto":
        return prompt
    if run_dir and (run_dir / "manifest.json").is_file():
        return "base" if Manifest.read(run_dir).kind.endswith("-pretrain") else "chat"
    return "chat" if _has_template(directory) else "base"


def _has_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def as_the_run_says(overrides: Sequence[str]) -> bool:
    """Whether the model is asked as its own recipe says; other tasks may be asked so too."""
    keys = [override.partition("=")[0].strip() for override in overrides]
    return all(key.startswith(_NEUTRAL) for key in keys)


def output_directory(to: Path | None, run_dir: Path | None, step: int | None, overrides: Sequence[str]) -> Path | None:
    """`to` (--to DIR), or a folder of the run for its last checkpoint, for one at a step, for asking otherwise than its
    recipe says; None for a model from elsewhere. Raises UserError where `to` can be no directory."""
    if to:
        there = next(path for path in (to, *to.parents) if path.exists())
        if not there.is_dir():
            raise UserError(f"--to {to}: {there} is no directory")
        return to
    if run_dir is None:
        return None
    if not as_the_run_says(overrides):
        return run_dir / "evaluation-trial"
    return run_dir / (f"evaluation-{step:08d}" if step else "evaluation")


def tell_run(
    run_dir: Path, recipe: RunRecipe, figures: dict[str, float], tables: dict[str, list[dict[str, Any]]]
) -> None:
    """The last checkpoint's figures go into the run's manifest and its W&B run, with a table of answers a task.

    `recipe` is the one that the model was asked with; W&B keeps the run's own.
    """
    from qwen_shared.tracking.results import result_rows
    from qwen_shared.tracking.wandb_run import WandbRun

    manifest = Manifest.read(run_dir)
    wandb = WandbRun(run_dir, own_recipe(run_dir), recipe.tracking, manifest)
    wandb.summary(figures)
    for name, rows in tables.items():
        wandb.table(None, name, rows)
    wandb.table(None, "eval/results", result_rows(manifest.results | figures))
    wandb.finish(failed=False)
    manifest = Manifest.read(run_dir)  # again: the upload may have taken a while
    manifest.results = manifest.results | figures
    manifest.wandb_run_id, manifest.wandb_url = wandb.id, wandb.url
    manifest.write(run_dir)
    refresh_report(run_dir)


def figures_table[T](rows: dict[str, T], columns: dict[str, Callable[[T], str]], title: str | None) -> Table:
    """A row for each name; what a column shows is made of the row's figures."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title and escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("task", overflow="fold")
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, of_row in rows.items():
        shown.add_row(name, *(show(of_row) for show in columns.values()))
    return shown


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
