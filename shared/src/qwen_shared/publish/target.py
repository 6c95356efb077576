"""Where a checkpoint is published: a directory, a repository on the Hugging Face hub, an artifact of W&B. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.publish.card import CARD
from qwen_shared.publish.files import CHECKSUMS, files_of, read_certificate, read_checksums, sha256
from qwen_shared.publish.subject import Subject
from qwen_shared.run.manifest import MANIFEST, RECIPE

_SCHEMES = {"hf": "hf://ORG/NAME", "wandb": "wandb://ENTITY/PROJECT/NAME"}
_HUB = re.compile(r"hf://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)/?")
_WANDB = re.compile(r"wandb://([\w.-]+)/([\w.-]+)/([\w.-]+)/?")


@dataclass(frozen=True)
class Target:
    directory: Path  # what is published is put together here, and stays
    hub: str | None = None  # org/name
    wandb: tuple[str, str, str] | None = None  # entity, project, name of the artifact

    def __str__(self) -> str:
        if self.hub:
            return f"hf://{self.hub}"
        return f"wandb://{'/'.join(self.wandb)}" if self.wandb else str(self.directory)


def find_target(text: str | None, subject: Subject) -> Target:
    """What `--to` names; RUN/published where it is not given. Raises UserError for what cannot be a place."""
    if text is None:
        return Target(_real(subject.default_target))
    scheme, mark, _ = text.partition("://")
    if not mark and scheme.partition(":")[0] not in _SCHEMES:
        return Target(_outside(_real(Path(text).expanduser()), subject))
    if match := _HUB.fullmatch(text):
        return Target(_real(subject.default_target), hub=match[1])
    if match := _WANDB.fullmatch(text):
        return Target(_real(subject.default_target), wandb=(match[1], match[2], match[3]))
    form = _SCHEMES.get(scheme.partition(":")[0]) or f"a directory, {' or '.join(_SCHEMES.values())}"
    raise UserError(f"--to {text}: write {form}")


def _real(directory: Path) -> Path:
    """A link stays one: what it points to is written. `.` has a name."""
    return directory.resolve() if directory.is_symlink() or not directory.name else directory


def _outside(directory: Path, subject: Subject) -> Path:
    """Raises UserError for a place within a run, but for the usual one: what is there is the run's own; and for one
    within a file."""
    real = directory.resolve()
    there = next(place for place in real.parents if place.exists())
    if not there.is_dir():
        raise UserError(f"--to {directory}: {there} is a file, not a directory")
    runs = [place for place in (real, *real.parents) if (place / MANIFEST).is_file() and (place / RECIPE).is_file()]
    if runs and real != subject.default_target.resolve():
        raise UserError(
            f"--to {directory}: a place within the run {runs[0]}, whose files are its own; leave --to out for "
            f"{subject.default_target}, or name a directory elsewhere"
        )
    return directory


def check_directory(directory: Path, ours: dict[str, Any], replace: bool) -> None:
    """Raises UserError where something lies there that must not be lost."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: a file, not a directory")
    theirs = read_certificate(directory)
    if theirs is None and any(directory.iterdir()):
        raise UserError(f"{directory}: holds something that was not published here; give an empty or a new directory")
    refuse_newer(str(directory), theirs, ours, replace)
    if theirs is not None and not replace:
        _refuse_edited(directory)


def _refuse_edited(directory: Path) -> None:
    """Raises UserError where somebody has worked on what was published."""
    try:
        sums = read_checksums((directory / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    names = {str(path.relative_to(directory)) for path in files_of(directory)} - {CHECKSUMS}
    if strangers := sorted(names - sums.keys()):
        raise UserError(f"{directory}: {strangers[0]} was not published here, and would be lost; --replace does that")
    card = directory / CARD
    if card.is_file() and sha256(card) != sums.get(CARD):
        raise UserError(f"{directory}: its {CARD} was edited since it was published; --replace overwrites that")


def refuse_newer(where: str, theirs: dict[str, Any] | None, ours: dict[str, Any], replace: bool) -> None:
    """`theirs` is the certificate of what is there, `ours` the identity of what is to come. Raises UserError where what
    is there was trained later."""
    if theirs is None or replace:
        return
    run = theirs["run"]
    same = all(run.get(key) == ours[key] for key in ("kind", "name", "created"))
    there = f"{where}: holds {run.get('kind')}/{run.get('name')} at step {run.get('step')}"
    if same and run["step"] > ours["step"]:
        raise UserError(f"{there}, and this is step {ours['step']} of that run; --replace puts it there all the same")
    if not same and str(run.get("created")) > ours["created"]:
        raise UserError(f"{there}, a run that began later than this one; --replace puts this one there all the same")
