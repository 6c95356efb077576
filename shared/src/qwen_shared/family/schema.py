"""The YAML of a family: stages, each a command of a package, and their goals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from qwen_shared.recipe.schema import Flag, Section

_STAGE = "[a-z0-9][a-z0-9-]*"
_REFERENCE = re.compile(f"{{({_STAGE})}}")  # other braces are YAML
_COMMAND = re.compile(r"([a-z]+-)?qwen(-[a-z]+)? [a-z]+")
_KEY = re.compile(r"[^-=][^=]*=")
_GOAL = re.compile(r"(>=|<=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


class Goal(NamedTuple):
    """A bound on one of a run's results."""

    relation: str  # ">=" or "<="
    bound: float

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.relation == ">=" else value <= self.bound


def parse_goal(text: str) -> Goal:
    """`>= 0.9` or `<= 2.3`."""
    match = _GOAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a goal: write '>= 0.9' or '<= 2.3'")
    return Goal(match[1], float(match[2]))


def _check_goal(text: str) -> str:
    parse_goal(text)
    return text


def _check_command(text: str) -> str:
    """A YAML must not run any other program."""
    if not _COMMAND.fullmatch(text):
        raise ValueError(f"'{text}' is not a command of this suite: write 'qwen-NAME VERB' or 'NAME-qwen VERB'")
    return text


def _check_key(text: str) -> str:
    if not _KEY.match(text):
        raise ValueError(f"'{text}' is not key=value")
    return text


class Stage(Section):
    name: str = Field(pattern=rf"^{_STAGE}$")
    command: Annotated[str, AfterValidator(_check_command)] = Field(description="program and verb")
    parent: str | None = Field(None, description="the stage whose model it starts from")
    after: list[str] = Field([], description="stages besides the parent that must finish first")
    config: str | None = Field(None, description="recipe of the command; by default the family's name")
    keys: list[Annotated[str, AfterValidator(_check_key)]] = Field(
        [], description="key=value for the command; {stage} becomes that stage's run directory"
    )
    goals: dict[str, Annotated[str, AfterValidator(_check_goal)]] = Field(
        {}, description="bounds on results in the manifest, for example eval/accuracy: '>= 0.9'"
    )
    publish: Flag = Field(False, description="also publish the model, in the run's published/")

    @property
    def kind(self) -> str:
        """Of its run, in runs/<kind>/<name>: the program without `qwen`, and the verb."""
        program, verb = self.command.split()
        return f"{program.replace('qwen', '').strip('-_')}-{verb}"

    @property
    def needs(self) -> list[str]:
        return [*([self.parent] if self.parent else []), *self.after]


class Family(Section):
    name: str = Field(
        pattern=r"^\w[\w.-]*$", description="of the family's runs, and of their recipes unless a stage names its own"
    )
    stages: list[Stage] = Field(min_length=1, description="in the order in which they run")

    @model_validator(mode="after")
    def _check(self) -> Family:
        runs: dict[Path, str] = {}
        for i, stage in enumerate(self.stages):
            earlier = [other.name for other in self.stages[:i]]
            if stage.name in earlier:
                raise ValueError(f"two stages are named {stage.name}")
            named = [*stage.needs, *(name for key in stage.keys for name in _REFERENCE.findall(key))]
            for name in named:
                if name not in earlier:
                    found = f" (before it: {', '.join(earlier)})" if earlier else ""
                    raise ValueError(f"stage {stage.name}: no stage {name} comes before it{found}")
            other = runs.setdefault(self.run_dir(stage), stage.name)
            if other != stage.name:
                raise ValueError(f"stages {other} and {stage.name} would share {self.run_dir(stage)}")
        return self

    def run_dir(self, stage: Stage) -> Path:
        return Path("runs") / stage.kind / self.name

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def keys_of(self, stage: Stage) -> list[str]:
        """With the run directories of the stages that they name."""
        places = {f"{{{other.name}}}": str(self.run_dir(other)) for other in self.stages}
        return [_REFERENCE.sub(lambda found: places[found[0]], key) for key in stage.keys]
