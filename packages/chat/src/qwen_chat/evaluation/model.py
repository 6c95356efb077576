"""A model and how it is spoken to: as its run says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from qwen_shared.cli import Invocation
from qwen_shared.cli.evaluate_verb import Asked
from qwen_shared.cli.model_argument import is_run, step_of
from qwen_shared.errors import UserError
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Conditions
from qwen_shared.job import parent as job_parent
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run.manifest import MANIFEST, RECIPE, Manifest, read_recipe
from qwen_shared.run.paths import find_export

SFT, REWARD, PPO = "chat-sft", "chat-reward", "chat-ppo"
_DEFAULT_TASKS = ["dialogues"]


class _Data(BaseModel):
    system: str | None = None


class _Generation(BaseModel):
    max_new_tokens: int | None = None


class _Evaluation(BaseModel):
    temperature: float | None = None


class AnyRecipe(BaseModel):
    """How a model is spoken to, in the recipe of any run."""

    name: str
    tokenizer: str
    data: _Data
    generation: _Generation = _Generation()  # of a run that draws answers to learn from
    evaluation: _Evaluation = _Evaluation()
    tracking: Tracking = Tracking()


@dataclass(frozen=True)
class AskedChat(Asked):
    kind: str | None = None  # of the run that made the model

    @property
    def system(self) -> str | None:
        return self.conditions.system

    @property
    def kept_in(self) -> Path | None:
        return self.run_dir if self.kind in (SFT, REWARD, PPO) else None

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


def asked(invocation: Invocation[Any]) -> AskedChat:
    """The model that a reading verb looks at.

    A run of `sft` is asked by its own recipe; one of `ppo` with its system turn, answers as long as in training and the
    temperature of its parent; other runs by defaults; a model from elsewhere as the verb's recipe says. Overrides go
    before all of these.
    """
    run_dir = invocation.run_dir if is_run(invocation) else None
    kind = kind_of(run_dir)
    recipe, name = invocation.recipe, invocation.from_model or str(invocation.run_dir)
    settings, system = recipe.evaluation, recipe.data.system
    if kind != SFT and run_dir is not None:
        keys = _keys(invocation.overrides)
        says = run_recipe(run_dir)
        if "evaluation" not in keys:
            said = {"max_new_tokens": says.generation.max_new_tokens, "temperature": _temperature(run_dir)}
            settings = EvaluationSettings(interval=recipe.evaluation.interval)
            settings = settings.model_copy(update={key: value for key, value in said.items() if value is not None})
        fields = EvaluationSettings.model_fields
        own = {key: getattr(recipe.evaluation, key) for key in fields if f"evaluation.{key}" in keys}
        settings = settings.model_copy(update=own)
        system = recipe.data.system if {"data", "data.system"} & keys else says.data.system
    conditions = replace(Conditions.of(recipe), settings=settings, system=system)
    return AskedChat(name, run_dir, step_of(invocation), recipe.tasks or _DEFAULT_TASKS, conditions, kind)


def other(text: str, like: AskedChat, overrides: Sequence[str]) -> AskedChat:
    """Another model, asked the same: only its system turn is its own, unless an override gives one. Raises UserError
    for a step of a model that is no run."""
    place, step = job_parent.split_step(text)
    run_dir = Path(place).expanduser() if (Path(place).expanduser() / RECIPE).is_file() else None
    if step and run_dir is None:
        raise UserError(f"{text}: {place} is not a run, only runs have steps")
    system = run_recipe(run_dir).data.system if run_dir else None
    if {"data", "data.system"} & _keys(overrides):
        system = like.system
    conditions = replace(like.conditions, system=system)
    return AskedChat(text, run_dir, step, like.tasks, conditions, kind_of(run_dir))


def kind_of(run_dir: Path | None) -> str | None:
    """None if it is no run. A run without a manifest was found by its recipe, which is this package's."""
    if run_dir is None:
        return None
    return Manifest.read(run_dir).kind if (run_dir / MANIFEST).is_file() else SFT


def run_recipe(run_dir: Path) -> AnyRecipe:
    return read_recipe(run_dir, AnyRecipe)


def _temperature(run_dir: Path) -> float | None:
    """Of a run of `ppo`: its parent's. Its own is that of learning."""
    manifest = Manifest.read(run_dir) if (run_dir / MANIFEST).is_file() else None
    parent = Path(manifest.parent.run) if manifest and manifest.parent and manifest.kind == PPO else None
    return run_recipe(parent).evaluation.temperature if parent and (parent / RECIPE).is_file() else None


def _keys(overrides: Sequence[str]) -> set[str]:
    return {override.partition("=")[0].strip() for override in overrides}
