"""Which run a command makes or goes on with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_shared.recipe import RunRecipe
from qwen_shared.recipe.layout import Layout

if TYPE_CHECKING:
    from qwen_shared.job.parent import ParentModel


@dataclass(frozen=True)
class RunSpec[R: RunRecipe]:
    """Everything that decides a run, checked."""

    recipe: R
    layout: Layout
    run_dir: Path
    command: str  # program and verb, for the manifest and messages
    kind: str
    parent: ParentModel | None = None  # None: random weights
