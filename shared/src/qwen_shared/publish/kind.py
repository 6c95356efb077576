"""A kind of run: what its package tells `publish` about it. Packages declare theirs in `kinds.py`. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal

from qwen_shared.errors import UserError
from qwen_shared.run import Manifest

if TYPE_CHECKING:
    from qwen_shared.publish.parity import Parity

_GROUP = "qwen.kinds"  # entry points: a package's tuple of kinds


@dataclass(frozen=True)
class Kind:
    name: str  # of the directory in runs/
    summary: str  # the card's first sentence
    model: Literal["base", "chat", "reward"]  # continues text, answers a conversation, scores one
    example: str = "Hello!"  # the user's turn in the card's code
    counts: str = ""  # when a problem of its evaluation counts
    method: str = "Training"  # what changed the model, as the subject of a sentence
    parity: Parity | None = None  # None: its checkpoints are Megatron's
    generated_sources: tuple[str, ...] = ()  # data sources that the package generates


def find_kind(manifest: Manifest) -> Kind:
    """Raises UserError if no installed package declares the run's kind."""
    for point in entry_points(group=_GROUP):
        for kind in point.load():
            if kind.name == manifest.kind:
                return kind
    program = manifest.command.partition(" ")[0]
    raise UserError(f"{manifest.name}: a run of {manifest.kind}, a kind that only `{program}` knows; install it")
