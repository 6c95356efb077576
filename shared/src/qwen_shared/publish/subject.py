"""Which checkpoint of which run is published, and what the run says of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.job.parent import split_step
from qwen_shared.run import read_metrics
from qwen_shared.run.manifest import Manifest, own_recipe
from qwen_shared.run.paths import checkpoint_path, export_directory, exported_step, find_export, list_checkpoints


@dataclass(frozen=True)
class Subject:
    run_dir: Path
    step: int
    is_last: bool  # of the run's checkpoints
    manifest: Manifest
    recipe: dict[str, Any]  # the run's own, as it is written

    @property
    def kind(self) -> str:
        return self.manifest.kind

    @property
    def title(self) -> str:
        return f"{self.kind}/{self.manifest.name}"

    @property
    def checkpoint(self) -> Path:
        return checkpoint_path(self.run_dir / "checkpoints", self.step)

    @property
    def default_target(self) -> Path:
        """RUN/published holds the last checkpoint, RUN/published-STEP one that was asked for by step."""
        return self.run_dir / ("published" if self.is_last else f"published-{self.step:08d}")

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this checkpoint from every other one."""
        manifest = self.manifest
        return {"kind": self.kind, "name": manifest.name, "created": manifest.created, "step": self.step}


def find_subject(text: str) -> Subject:
    """RUN or RUN@STEP. Raises UserError for no such run or checkpoint, and where the run is not finished."""
    place, step = split_step(text, "")
    run_dir = Path(place).expanduser()
    if not run_dir.is_dir():
        raise UserError(f"{place}: no such run; runs are directories such as runs/base-pretrain/tiny")
    manifest = Manifest.read(run_dir)
    if manifest.status != "finished":
        raise UserError(f"{run_dir}: the run is {manifest.status}, not finished; `{manifest.command}` goes on with it")
    saved, recipe = list_checkpoints(run_dir / "checkpoints"), own_recipe(run_dir)
    if not {"data", "tokenizer"} <= recipe.keys():
        raise UserError(f"{run_dir}/recipe.yaml: no recipe of a run; put it back")
    if not saved:
        there = "its export is, but " if find_export(run_dir) else ""
        raise UserError(f"{run_dir}: {there}no checkpoint is left that the published files could be compared with")
    if step is not None and step not in saved:
        raise UserError(f"{run_dir}: no checkpoint of step {step}; there are {', '.join(map(str, saved))}")
    logged = [line["step"] for line in read_metrics(run_dir / "metrics.jsonl")[-1:]]
    last = max([saved[-1], *logged, exported_step(export_directory(run_dir)) or 0])
    if step is None and last not in saved:
        raise UserError(
            f"{run_dir}: the checkpoint of its last step, {last}, is not there any more, with which the files could be "
            f"compared; {place}@{saved[-1]} is an earlier one"
        )
    step = step or last
    return Subject(run_dir, step, step == last, manifest, recipe)
