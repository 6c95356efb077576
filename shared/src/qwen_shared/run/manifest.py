"""A run's `recipe.yaml` and `manifest.json`, and whether a recipe begins or resumes the run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from qwen_shared.errors import Stopped, UserError, first_line
from qwen_shared.files import write_atomic
from qwen_shared.recipe import RESULT_NEUTRAL, RunRecipe, differing_keys, recipe_text
from qwen_shared.recipe.load import read_stored, validate_with

RECIPE, MANIFEST = "recipe.yaml", "manifest.json"
TOKENIZER = "tokenizer"  # directory of the run's own tokenizer
State = Literal["new", "resume", "finished"]

_REASON = 300  # characters; the log has the rest
# Errors after another rank is lost; that rank or the launcher knows the cause.
_CONSEQUENCES = re.compile(r"gloo/|nccl|connection (closed|reset) by peer", re.IGNORECASE)
_LOST_RANK = "another rank was lost: see the console and logs/"
_NAME_BYTES = 255  # Linux's limit for a file name
_OWN_TOKENIZER = f"./{TOKENIZER}"  # as the run's recipe names it
_WITHOUT = "delete it: the run continues from its checkpoints without it"

# These may exist before the run.
_BEFORE_A_RUN = {"logs", "log.txt"}
_LIBRARIES = ("torch", "megatron-core", "transformers", "datasets", "tiktoken", "numpy", "safetensors", "wandb")


class Parent(BaseModel):
    """A checkpoint that a run started from, with facts from its run's manifest; see `lineage`."""

    run: str
    step: int | None = None
    hash: str | None = None  # of the weights
    kind: str | None = None  # None: not a run
    name: str = ""
    created: str | None = None  # if the directory's manifest has another time, it is another run
    tokens: int | None = None  # seen by this step
    wandb_run_id: str | None = None
    wandb_artifact: str | None = None


class Manifest(BaseModel):
    model_config = ConfigDict(extra="allow", validate_assignment=True, defer_build=True)

    command: str
    kind: str
    name: str
    status: Literal["running", "stopped", "failed", "finished"] = "running"
    reason: str | None = None  # why it stopped or failed
    created: str
    updated: str
    git_commit: str | None = None
    machine: str | None = None  # where it began
    versions: dict[str, str] = {}
    data: list[dict[str, Any]] = []
    tokenizer: str | None = None  # fingerprint
    precision: str | None = None  # `auto` as resolved when the run began
    wandb_run_id: str | None = None
    wandb_url: str | None = None
    wandb_artifacts: dict[int, str] = {}  # step → entity/project/name:version
    parent: Parent | None = None
    lineage: list[Parent] = []  # the parent, its parent, …
    reward_model: Parent | None = None  # of PPO
    results: dict[str, int | float] = {}

    @classmethod
    def create(cls, command: str, kind: str, name: str) -> Manifest:
        now = _now()
        return cls(
            command=command,
            kind=kind,
            name=name,
            created=now,
            updated=now,
            git_commit=_git_commit(),
            machine=_machine(),
            versions=_versions(),
        )

    @classmethod
    def read(cls, run_dir: Path) -> Manifest:
        """Raises UserError if it is missing or damaged."""
        path = run_dir / MANIFEST
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(f"{run_dir}: not a run, it has no {MANIFEST}") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            key = ".".join(map(str, problem["loc"])) or "the file"
            raise UserError(f"{path}: damaged: {key}: {problem['msg']}; {_WITHOUT}") from None
        except ValueError as error:  # not JSON, not UTF-8
            raise UserError(f"{path}: damaged: {error}; {_WITHOUT}") from None

    def break_off(self, error: BaseException) -> None:
        """Records the error that ends the run. Keeps an earlier `failed`, whose consequence this error is."""
        if self.status != "failed":
            self.status = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
            reason = first_line(error)[:_REASON]
            self.reason = _LOST_RANK if _CONSEQUENCES.search(reason) else reason

    def write(self, run_dir: Path) -> None:
        self.updated = _now()
        write_atomic(run_dir / MANIFEST, self.model_dump_json(indent=2) + "\n")


def inspect_run(run_dir: Path, recipe: RunRecipe) -> State:
    """What a run of this recipe would find. Raises UserError if the directory is unusable, no run, or another
    recipe's."""
    for part in run_dir.parts:
        if (size := len(os.fsencode(part))) > _NAME_BYTES:
            raise UserError(f"{_show(part)}: a name of {size} bytes; the limit is {_NAME_BYTES}")
    try:
        if not run_dir.exists():
            return "new"
        if not run_dir.is_dir():
            raise UserError(f"{run_dir}: a file, not a run directory; choose another --run-dir")
        present = {path.name for path in run_dir.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be read: {error.strerror}") from None
    if RECIPE not in present:
        if strangers := sorted(present - _BEFORE_A_RUN):
            raise UserError(
                f"{run_dir}: not a run (it holds {', '.join(strangers[:3])}{', …' if len(strangers) > 3 else ''} "
                f"but no {RECIPE}); choose another --run-dir"
            )
        return "new"
    # The recipe is written first; a kill may have prevented the manifest.
    status = Manifest.read(run_dir).status if MANIFEST in present else "running"
    try:
        old = read_recipe(run_dir, type(recipe))
    except UserError as error:
        raise UserError(
            f"{run_dir}: its {RECIPE} is damaged ({error}); restore it, or choose another --run-dir"
        ) from None
    changed = [(key, a, b) for key, a, b in differing_keys(old, recipe) if not key.startswith(RESULT_NEUTRAL)]
    if changed and status != "finished" and not has_trained(run_dir):
        return "new"  # it failed before its first step
    if changed:
        shown = "; ".join(f"{key}: {_show(a)} → {_show(b)}" for key, a, b in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"{run_dir} holds a run with another recipe ({shown}{more}): use the same values, move it away, "
            f"or start a new run with --run-dir {_sibling(run_dir)}"
        )
    return "finished" if status == "finished" else "resume"


def open_run(run_dir: Path, recipe: RunRecipe, command: str, kind: str) -> tuple[State, Manifest]:
    """Begins or resumes the run and marks it running, unless it is finished. One process per run calls this. Raises
    UserError as `inspect_run` does, and if nothing can be written."""
    state = inspect_run(run_dir, recipe)
    if state == "finished":
        return state, Manifest.read(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        own = recipe.tokenizer == str(run_dir / TOKENIZER)
        text = recipe_text(recipe.model_copy(update={"tokenizer": _OWN_TOKENIZER}) if own else recipe)
        if state == "new" or (run_dir / RECIPE).read_text(encoding="utf-8") != text:  # neutral keys may have changed
            write_atomic(run_dir / RECIPE, text)
        known = state == "resume" and (run_dir / MANIFEST).exists()
        manifest = Manifest.read(run_dir) if known else Manifest.create(command, kind, recipe.name)
        manifest.status, manifest.reason = "running", None
        manifest.write(run_dir)
    except OSError as error:
        raise UserError(f"{error.filename or run_dir}: cannot be written: {error.strerror}") from None
    return state, manifest


def read_recipe[R: BaseModel](run_dir: Path, schema: type[R], overrides: Sequence[str] = ()) -> R:
    """Raises UserError."""
    return validate_with(schema, own_recipe(run_dir), overrides, f"recipe {run_dir / RECIPE}")


def own_recipe(run_dir: Path) -> dict[str, Any]:
    """The recipe of any run as data. Finds the run's own tokenizer also after a move. Raises UserError."""
    tree = read_stored(run_dir / RECIPE)
    return tree | ({"tokenizer": str(run_dir / TOKENIZER)} if tree.get("tokenizer") == _OWN_TOKENIZER else {})


def is_chat_run(run_dir: Path) -> bool:
    """Whether the run trained on conversations: its recipe then says which system turn they have."""
    return "system" in own_recipe(run_dir).get("data", {})


def has_trained(run_dir: Path) -> bool:
    """Whether a new start would lose steps."""
    metrics = run_dir / "metrics.jsonl"
    return any(run_dir.glob("checkpoints/step-*")) or (metrics.is_file() and metrics.stat().st_size > 0)


def _sibling(run_dir: Path) -> Path:
    number = 2
    while (other := run_dir.with_name(f"{run_dir.name}-{number}")).exists():
        number += 1
    return other


def _show(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str:
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPU cores"
    torch = sys.modules.get("torch")  # loaded in any process that trains
    if torch is not None and torch.cuda.is_available():
        machine += f", {torch.cuda.device_count()} × {torch.cuda.get_device_name()}"
    return machine


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of this code, with a `+` if files have changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        if head.returncode:
            return None
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")
