"""A dialogue with its reference answer and what makes an answer right."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

Value = int | str
JSON = str | int | list[str]


@dataclass(frozen=True, slots=True)
class Target:
    """What a right answer contains; plain values, for columns of a data set.

    `needs` are parts of `core`, required in this order; `bars` are forbidden. `form`: "text" (ignores letter case),
    "exact" or "refusal".
    """

    language: str
    core: str
    needs: tuple[str, ...]
    bars: tuple[str, ...] = ()
    form: str = "text"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Everything up to the last user turn, and a reference answer.

    `turns` alternate, first and last a user's. `values` fill slots, `opening` starts the first turn; `parameters`, of
    both, decide the side of the split.
    """

    family: str
    kind: str
    language: str
    system: str | None
    turns: tuple[str, ...]
    answer: str
    target: Target
    values: tuple[Value, ...]
    opening: tuple[str, str]
    parameters: tuple[Value, ...]


def prompt(dialogue: Dialogue) -> list[dict[str, str]]:
    """The conversation up to the last user turn."""
    turns = [
        {"role": ("user", "assistant")[index % 2], "content": content} for index, content in enumerate(dialogue.turns)
    ]
    return ([{"role": "system", "content": dialogue.system}] if dialogue.system else []) + turns


def messages(dialogue: Dialogue) -> list[dict[str, str]]:
    return [*prompt(dialogue), {"role": "assistant", "content": dialogue.answer}]


def columns(dialogue: Dialogue) -> dict[str, JSON]:
    """The target as plain JSON values; `target_of` reads it back."""
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(dialogue.target).items()
    }
    return plain | {"kind": dialogue.kind}


def target_of(columns: dict[str, JSON]) -> Target:
    """Raises KeyError if a column is missing."""
    plain: dict[str, Any] = {name: columns[name] for name in Target.__slots__}
    plain |= {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
    return Target(**plain)


_SPACE = re.compile(r"\s+")


def normalise(dialogue: Dialogue) -> str:
    """Equal for prompts that differ only in case, widths and spaces."""
    text = "\n".join([dialogue.system or "", *dialogue.turns])
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()
