"""The checkpoint that is published, and what its run says of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.job.parent import split_step
from qwen_shared.publish.kind import Kind, find_kind
from qwen_shared.run import read_metrics
from qwen_shared.run.manifest import Manifest, own_recipe
from qwen_shared.run.paths import checkpoint_path, export_directory, exported_step, find_export, list_checkpoints


@dataclass(frozen=True)
class Checkpoint:
    run_dir: Path
    step: int
    is_last: bool  # of its run
    kind: Kind
    manifest: Manifest
    recipe: dict[str, Any]  # as its YAML has it

    @property
    def title(self) -> str:
        return f"{self.kind.name}/{self.manifest.name}"

    @property
    def path(self) -> Path:
        return checkpoint_path(self.run_dir / "checkpoints", self.step)

    @property
    def default_target(self) -> Path:
        """RUN/published for the last checkpoint, RUN/published-STEP for an earlier one."""
        return self.run_dir / ("published" if self.is_last else f"published-{self.step:08d}")

    @property
    def identity(self) -> dict[str, Any]:
        manifest = self.manifest
        return {"kind": self.kind.name, "name": manifest.name, "created": manifest.created, "step": self.step}


def find_checkpoint(text: str) -> Checkpoint:
    """RUN or RUN@STEP. Raises UserError if it is not a checkpoint of a finished run."""
    place, step = split_step(text, "")
    run_dir = Path(place).expanduser()
    if not run_dir.is_dir():
        raise UserError(f"{place}: no such run; runs are directories such as runs/KIND/NAME")
    manifest = Manifest.read(run_dir)
    if manifest.status != "finished":
        raise UserError(f"{run_dir}: the run is {manifest.status}, not finished; `{manifest.command}` continues it")
    saved, recipe = list_checkpoints(run_dir / "checkpoints"), own_recipe(run_dir)
    if not {"data", "tokenizer"} <= recipe.keys():
        raise UserError(f"{run_dir}/recipe.yaml: not a run's recipe; put it back")
    if not saved:
        exported = "its export is there, but " if find_export(run_dir) else ""
        raise UserError(f"{run_dir}: {exported}no checkpoint is left to compare the published files with")
    if step is not None and step not in saved:
        raise UserError(f"{run_dir}: no checkpoint of step {step}; there are {', '.join(map(str, saved))}")
    logged = [line["step"] for line in read_metrics(run_dir / "metrics.jsonl")[-1:]]
    last = max([saved[-1], *logged, exported_step(export_directory(run_dir)) or 0])
    if step is None and last not in saved:
        raise UserError(
            f"{run_dir}: the checkpoint of its last step, {last}, is gone, so the files cannot be compared with it; "
            f"{place}@{saved[-1]} is an earlier one"
        )
    step = step or last
    return Checkpoint(run_dir, step, step == last, find_kind(manifest), manifest, recipe)
