"""A family of dialogues: slots, requests, right answers, wording."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from qwen_chat.dialogues.dialogue import Target, Value
from qwen_chat.dialogues.style import BARE, Style, compose

HELD_OUT_TUPLES = 10  # one in ten

Values = tuple[Value, ...]
ByLanguage = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Solution:
    """The target, and wrong cores close to it."""

    target: Target
    rivals: tuple[str, ...]


@dataclass(frozen=True, eq=False)  # compared by identity
class Family:
    """Dialogues of one shape. Texts name slots in braces; `{core}` is the expected text.

    `slots`: by language, the values of each slot, combined if `valid`. `requests`: the user's turn, or user, assistant
    and user. `sentences` and `bare` state the core as a sentence and alone; `echoes` repeat the question. `systems`:
    system prompts that the answer depends on. `opens`: "question", "request" or none. `facts`: every value must be
    trained, so facts are held out together with openings. `complying`: sentences for wrong cores if the right one's
    would contradict them. `names`: more names in texts.
    """

    name: str
    kind: str
    slots: Mapping[str, Mapping[str, Sequence[Value]]]
    requests: Mapping[str, Sequence[str | tuple[str, str, str]]]
    solve: Callable[..., Solution]
    sentences: ByLanguage
    echoes: Mapping[str, str]
    bare: Mapping[str, str] = field(default_factory=lambda: BARE)
    systems: ByLanguage = field(default_factory=dict)
    opens: str = "question"
    facts: bool = False
    complying: ByLanguage = field(default_factory=dict)
    valid: Callable[..., bool] = lambda *values: True
    names: Callable[..., dict[str, str]] = lambda language, *values: {}

    def draw(self, rng: Random, language: str) -> Values:
        while True:
            values = tuple(rng.choice(choices) for choices in self.slots[language].values())
            if self.valid(*values):
                return values

    def parameters(self, values: Values, opening: tuple[str, str]) -> Values:
        """What decides the side of the split."""
        return (*values, *opening) if self.facts else values

    def is_held_out(self, language: str, parameters: Values) -> bool:
        """One in ten, by a hash."""
        text = f"{self.name} {language} {parameters!r}"
        return hashlib.sha256(text.encode()).digest()[0] * HELD_OUT_TUPLES < 256

    def shown(self, language: str, values: Values) -> dict[str, Value]:
        return dict(zip(self.slots[language], values, strict=True)) | self.names(language, *values)

    def answer(
        self,
        rng: Random,
        style: Style,
        language: str,
        values: Values,
        core: str = "",
        sentences: Sequence[str] = (),
    ) -> str:
        """Another `core` or `sentences` make it a wrong one."""
        target = self.solve(language, *values).target
        shown = self.shown(language, values)
        statement = rng.choice(sentences or self.sentences[language]) if style.whole else self.bare[language]
        statement = statement.format(core=core or target.core, **shown)
        return compose(rng, style, language, statement, self.echoes[language].format(**shown))


def among(language: str, core: str, others: Sequence[str], asked: Sequence[str] = ()) -> Solution:
    """One word of several; the others are barred unless the question names them."""
    rivals = tuple(dict.fromkeys(other for other in others if other != core))
    bars = tuple(rival for rival in rivals if rival not in asked)
    return Solution(Target(language, core, (core,), bars), rivals)
