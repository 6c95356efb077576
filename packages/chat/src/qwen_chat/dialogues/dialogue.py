"""A dialogue with its reference answer, what makes an answer to it right, and when two dialogues are the same."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

Value = int | str
JSON = str | int | list[str]


@dataclass(frozen=True, slots=True)
class Target:
    """What an answer must hold to be right; plain values only, so that it can travel as columns of a data set.

    `core` is what is asked for as it stands in an answer, `needs` its parts, which must appear in this order; none of
    `bars` may appear. `form` says how to look: "text" (letter case is ignored), "exact" (it is not) and "refusal".
    `language` is the language of the answer.
    """

    language: str
    core: str
    needs: tuple[str, ...]
    bars: tuple[str, ...] = ()
    form: str = "text"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Everything up to the last user turn, and a reference answer.

    `turns` are a user's and an assistant's in turn, first and last a user's. `values` fill the family's slots and
    `opening` is what the first turn opens with; `parameters`, made of them, say with `family` and `language` on which
    side of the split the dialogue is.
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
    """The conversation with its reference answer."""
    return [*prompt(dialogue), {"role": "assistant", "content": dialogue.answer}]


def columns(dialogue: Dialogue) -> dict[str, JSON]:
    """What a reward function needs to judge an answer, as plain JSON values; `target_of` reads it."""
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(dialogue.target).items()
    }
    return plain | {"kind": dialogue.kind}


def target_of(columns: dict[str, JSON]) -> Target:
    """The target in the columns of one dialogue. Raises KeyError where one is missing."""
    plain: dict[str, Any] = {name: columns[name] for name in Target.__slots__}
    plain |= {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
    return Target(**plain)


_SPACE = re.compile(r"\s+")


def normalise(dialogue: Dialogue) -> str:
    """The prompt in one spelling: two dialogues that share it are one.

    Lower case, one spelling of widths, single spaces; punctuation stays.
    """
    text = "\n".join([dialogue.system or "", *dialogue.turns])
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()
