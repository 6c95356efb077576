"""Where a checkpoint is published: a directory, a repository of the Hugging Face hub, a W&B artifact. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.publish.card import CARD
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.files import CHECKSUMS, files_of, read_certificate, read_checksums, sha256
from qwen_shared.run.manifest import MANIFEST, RECIPE

_SCHEMES = {"hf": "hf://ORG/NAME", "wandb": "wandb://ENTITY/PROJECT/NAME"}
_HUB = re.compile(r"hf://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)/?")
_WANDB = re.compile(r"wandb://([\w.-]+)/([\w.-]+)/([\w.-]+)/?")


@dataclass(frozen=True)
class Target:
    directory: Path  # kept after an upload
    hub: str | None = None  # org/name
    wandb: tuple[str, str, str] | None = None  # entity, project, artifact

    def __str__(self) -> str:
        if self.hub:
            return f"hf://{self.hub}"
        return f"wandb://{'/'.join(self.wandb)}" if self.wandb else str(self.directory)


def find_target(text: str | None, checkpoint: Checkpoint) -> Target:
    """From `--to`, by default RUN/published. Raises UserError if it names no valid place."""
    if text is None:
        return Target(_real(checkpoint.default_target))
    scheme, mark, _ = text.partition("://")
    if not mark and scheme.partition(":")[0] not in _SCHEMES:
        return Target(_outside(_real(Path(text).expanduser()), checkpoint))
    if match := _HUB.fullmatch(text):
        return Target(_real(checkpoint.default_target), hub=match[1])
    if match := _WANDB.fullmatch(text):
        return Target(_real(checkpoint.default_target), wandb=(match[1], match[2], match[3]))
    form = _SCHEMES.get(scheme.partition(":")[0]) or f"a directory, {' or '.join(_SCHEMES.values())}"
    raise UserError(f"--to {text}: write {form}")


def _real(directory: Path) -> Path:
    """Resolves a link, so that it stays one, and `.`, so that it has a name."""
    return directory.resolve() if directory.is_symlink() or not directory.name else directory


def _outside(directory: Path, checkpoint: Checkpoint) -> Path:
    """Raises UserError for a place inside a file, or inside a run other than the default one."""
    real = directory.resolve()
    parent = next(place for place in real.parents if place.exists())
    if not parent.is_dir():
        raise UserError(f"--to {directory}: {parent} is a file, not a directory")
    runs = [place for place in (real, *real.parents) if (place / MANIFEST).is_file() and (place / RECIPE).is_file()]
    if runs and real != checkpoint.default_target.resolve():
        raise UserError(
            f"--to {directory}: inside the run {runs[0]}, whose files must stay as they are; leave --to out for "
            f"{checkpoint.default_target}, or name a directory elsewhere"
        )
    return directory


def check_directory(directory: Path, identity: dict[str, Any], replace: bool) -> None:
    """Raises UserError if the directory holds something that must not be lost."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: a file, not a directory")
    old = read_certificate(directory)
    if old is None and any(directory.iterdir()):
        raise UserError(f"{directory}: holds something that was not published here; give an empty or a new directory")
    refuse_newer(str(directory), old, identity, replace)
    if old is not None and not replace:
        _refuse_edited(directory)


def _refuse_edited(directory: Path) -> None:
    """Raises UserError if a published file was added or edited by hand."""
    try:
        sums = read_checksums((directory / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    names = {str(path.relative_to(directory)) for path in files_of(directory)} - {CHECKSUMS}
    if foreign := sorted(names - sums.keys()):
        raise UserError(f"{directory}: {foreign[0]} was not published here; --replace deletes it")
    card = directory / CARD
    if card.is_file() and sha256(card) != sums.get(CARD):
        raise UserError(f"{directory}: its {CARD} was edited since it was published; --replace overwrites that")


def refuse_newer(where: str, old: dict[str, Any] | None, identity: dict[str, Any], replace: bool) -> None:
    """`old` is the certificate at the target, `identity` the new checkpoint's. Raises UserError if `old` is newer."""
    if old is None or replace:
        return
    run = old["run"]
    same = all(run.get(key) == identity[key] for key in ("kind", "name", "created"))
    holds = f"{where}: holds {run.get('kind')}/{run.get('name')} at step {run.get('step')}"
    if same and run["step"] > identity["step"]:
        raise UserError(f"{holds}, and this is step {identity['step']} of that run; --replace publishes it anyway")
    if not same and str(run.get("created")) > identity["created"]:
        raise UserError(f"{holds}, a run that began later than this one; --replace publishes this one anyway")
