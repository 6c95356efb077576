"""A model and how it is spoken to: as the run that made it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import is_run, step_of
from qwen_shared.errors import UserError
from qwen_shared.evaluation.settings import Evaluation
from qwen_shared.job import parent as job_parent
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run.manifest import MANIFEST, RECIPE, Manifest, read_recipe
from qwen_shared.run.paths import find_export

SFT, REWARD, PPO = "chat-sft", "chat-reward", "chat-ppo"
_DEFAULT_TASKS = ["dialogues"]


class _Lax(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Data(_Lax):
    system: str | None = None


class _Generation(_Lax):
    max_new_tokens: int | None = None


class _Evaluation(_Lax):
    temperature: float | None = None


class AnyRecipe(_Lax):
    """What any run's recipe says of how its model is spoken to, whatever the run's job; all else is kept as it is."""

    name: str
    tokenizer: str
    data: _Data
    generation: _Generation = _Generation()  # of a run that draws answers to learn from
    evaluation: _Evaluation = _Evaluation()
    tracking: Tracking = Tracking()


@dataclass(frozen=True)
class Asked:
    name: str  # as the user wrote it
    run_dir: Path | None  # of the run that made it; None where it is from elsewhere
    step: int | None  # of RUN@STEP
    kind: str | None  # of the run
    system: str | None  # of conversations without a system turn; None: the template's own
    settings: Evaluation
    tasks: list[str]

    @property
    def keeps_figures(self) -> bool:
        """Whether it is a run of this package, and answers and figures are kept in it."""
        return self.kind in (SFT, PPO)

    @property
    def label(self) -> str:
        """Short and fit for a file's name: chat-sft-tiny."""
        place = (self.run_dir or Path(job_parent.split_step(self.name)[0])).resolve().name
        at = f"-{self.step}" if self.step else ""
        return (f"{self.kind}-{place}" if self.kind else place) + at

    def directory(self) -> Path:
        """The model in Hugging Face form, exported or downloaded first if need be. Raises UserError."""
        if self.run_dir is None:
            return job_parent.hf_directory(self.name)
        if self.kind not in (REWARD, PPO):
            return job_parent.exported(self.run_dir, self.step)
        found = find_export(self.run_dir, self.step)  # what was not trained by Megatron-core is exported as it is saved
        if found is None:
            of = f"step {self.step}" if self.step else "its last step"
            raise UserError(f"{self.run_dir}: the model of {of} has not been exported; is the run finished?")
        return found


def asked(invocation: Invocation) -> Asked:
    """The model that a reading verb looks at.

    A run of `sft` is asked by its own recipe, one of `ppo` with its system turn, answers as long as in training and its
    start's temperature, other runs by defaults; a model from elsewhere as the verb's recipe says. Overrides go before
    all of these.
    """
    run_dir = invocation.run_dir if is_run(invocation) else None
    kind = kind_of(run_dir)
    recipe, name = invocation.recipe, invocation.from_model or str(invocation.run_dir)
    tasks = recipe.tasks or _DEFAULT_TASKS
    if kind == SFT or run_dir is None:
        return Asked(name, run_dir, step_of(invocation), kind, recipe.data.system, recipe.evaluation, tasks)
    keys = _keys(invocation.overrides)
    says, settings = run_recipe(run_dir), Evaluation(interval=recipe.evaluation.interval)
    said = {"max_new_tokens": says.generation.max_new_tokens, "temperature": _temperature(run_dir)}
    settings = settings.model_copy(update={key: value for key, value in said.items() if value is not None})
    if "evaluation" in keys:
        settings = recipe.evaluation
    own = {key: getattr(recipe.evaluation, key) for key in Evaluation.model_fields if f"evaluation.{key}" in keys}
    settings = settings.model_copy(update=own)
    system = recipe.data.system if {"data", "data.system"} & keys else says.data.system
    return Asked(name, run_dir, step_of(invocation), kind, system, settings, tasks)


def other(text: str, like: Asked, overrides: Sequence[str]) -> Asked:
    """Another model, asked the same: only its system turn is its own, unless an override says which. Raises UserError
    for a step that is none."""
    place, step = job_parent.split_step(text)
    run_dir = Path(place).expanduser() if (Path(place).expanduser() / RECIPE).is_file() else None
    if step and run_dir is None:
        raise UserError(f"{text}: {place} is not a run, only runs have steps")
    system = run_recipe(run_dir).data.system if run_dir else None
    if {"data", "data.system"} & _keys(overrides):
        system = like.system
    return Asked(text, run_dir, step, kind_of(run_dir), system, like.settings, like.tasks)


def kind_of(run_dir: Path | None) -> str | None:
    """None for what is no run. A run without manifest was taken by its recipe, which is this package's."""
    if run_dir is None:
        return None
    return Manifest.read(run_dir).kind if (run_dir / MANIFEST).is_file() else SFT


def run_recipe(run_dir: Path) -> AnyRecipe:
    return read_recipe(run_dir, AnyRecipe)


def _temperature(run_dir: Path) -> float | None:
    """That of a run of `ppo` is its start's: it has none of its own but that of learning."""
    manifest = Manifest.read(run_dir) if (run_dir / MANIFEST).is_file() else None
    parent = Path(manifest.parent.run) if manifest and manifest.parent and manifest.kind == PPO else None
    return run_recipe(parent).evaluation.temperature if parent and (parent / RECIPE).is_file() else None


def _keys(overrides: Sequence[str]) -> set[str]:
    return {override.partition("=")[0].strip() for override in overrides}
