"""What a family is: stages, each a command of some package, and what each is to reach."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from qwen_shared.recipe.schema import Flag, Section

_STAGE = "[a-z0-9][a-z0-9-]*"
_REFERENCE = re.compile(f"{{({_STAGE})}}")  # other braces are YAML's
_COMMAND = re.compile(r"([a-z]+-)?qwen(-[a-z]+)? [a-z]+")
_KEY = re.compile(r"[^-=][^=]*=")
_GOAL = re.compile(r"(>=|<=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


class Goal(NamedTuple):
    """A bound on a figure of the run's results."""

    relation: str  # ">=" or "<="
    bound: float

    def holds(self, figure: float) -> bool:
        return figure >= self.bound if self.relation == ">=" else figure <= self.bound


def goal_of(text: str) -> Goal:
    """`>= 0.9` or `<= 2.3`."""
    match = _GOAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is no goal: write '>= 0.9' or '<= 2.3'")
    return Goal(match[1], float(match[2]))


def _is_goal(text: str) -> str:
    goal_of(text)
    return text


def _is_command(text: str) -> str:
    """A YAML is no place from which any program could be run."""
    if not _COMMAND.fullmatch(text):
        raise ValueError(f"'{text}' is no command and verb of this suite, such as 'qwen-base pretrain'")
    return text


def _is_key(text: str) -> str:
    if not _KEY.match(text):
        raise ValueError(f"'{text}' is no key=value")
    return text


class Stage(Section):
    """One run."""

    name: str = Field(pattern=rf"^{_STAGE}$")
    command: Annotated[str, AfterValidator(_is_command)] = Field(
        description="program and verb, for example qwen-base pretrain"
    )
    parent: str | None = Field(None, description="the stage whose model it begins from")
    after: list[str] = Field([], description="stages that must be finished besides the parent")
    config: str | None = Field(None, description="recipe of the command; by default the family's name")
    keys: list[Annotated[str, AfterValidator(_is_key)]] = Field(
        [], description="key=value for the command; {stage} becomes that stage's run directory"
    )
    goals: dict[str, Annotated[str, AfterValidator(_is_goal)]] = Field(
        {}, description="bounds on results in the manifest, for example eval/accuracy: '>= 0.9'"
    )
    publish: Flag = Field(False, description="leave a checkpoint for others, in published/ of the run")

    @property
    def kind(self) -> str:
        """Of its runs (they live in runs/<kind>/<name>): the program less `qwen`, and the verb."""
        program, verb = self.command.split()
        return f"{program.replace('qwen', '').strip('-_')}-{verb}"

    @property
    def needs(self) -> list[str]:
        return [*([self.parent] if self.parent else []), *self.after]


class Family(Section):
    name: str = Field(
        pattern=r"^\w[\w.-]*$", description="of the family's runs, and of their recipes where none is named"
    )
    stages: list[Stage] = Field(min_length=1, description="in the order in which they run")

    @model_validator(mode="after")
    def _check(self) -> Family:
        runs: dict[Path, str] = {}
        for i, stage in enumerate(self.stages):
            before = [other.name for other in self.stages[:i]]
            if stage.name in before:
                raise ValueError(f"two stages are named {stage.name}")
            named = [*stage.needs, *(name for key in stage.keys for name in _REFERENCE.findall(key))]
            for name in named:
                if name not in before:
                    there = f" (before it: {', '.join(before)})" if before else ""
                    raise ValueError(f"stage {stage.name}: no stage {name} comes before it{there}")
            other = runs.setdefault(self.run_dir(stage), stage.name)
            if other != stage.name:
                raise ValueError(f"stages {other} and {stage.name} would share {self.run_dir(stage)}")
        return self

    def run_dir(self, stage: Stage) -> Path:
        return Path("runs") / stage.kind / self.name

    def keys_of(self, stage: Stage) -> list[str]:
        """With other stages' run directories put in."""
        places = {f"{{{other.name}}}": str(self.run_dir(other)) for other in self.stages}
        return [_REFERENCE.sub(lambda found: places[found[0]], key) for key in stage.keys]
