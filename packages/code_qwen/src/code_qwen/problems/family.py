"""A family of tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from code_qwen.problems.task import Value

HELD_OUT_TUPLES = 10  # one of this many

Parameters = tuple[Value, ...]
# Language → value of the slot → phrases to choose from, with slots in braces.
Phrases = Mapping[str, Mapping[Any, Sequence[str]]]


@dataclass(frozen=True)
class Space:
    """Values for each slot, combined freely. A family draws from its spaces in proportion to `weight`."""

    weight: float
    slots: Mapping[str, Sequence[Value]]

    def draw(self, rng: Random) -> Parameters:
        return tuple(rng.choice(values) for values in self.slots.values())

    def __contains__(self, parameters: Parameters) -> bool:
        return all(value in values for value, values in zip(parameters, self.slots.values(), strict=True))

    @property
    def recombines(self) -> bool:
        """Whether new combinations of known values exist: at least two slots have a choice."""
        return sum(len(values) > 1 for values in self.slots.values()) > 1


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Family:
    """A program of fixed shape with slots for values.

    - `argument`: the kind of the function's only argument (a key of ARGUMENTS)
    - `body(x, *parameters)`: source of the solution's body for an argument named x
    - `reference(x, *parameters)`: the same value computed in another way, so that tests do not repeat the body
    - `inputs(rng, *parameters)`: arguments that distinguish these parameters from similar ones
    - `wordings`: noun phrases for the returned value, by language, or by language and first parameter
    - `phrases`: name in a wording → (slot, phrases by the slot's value)
    """

    name: str
    argument: str
    verbs: Sequence[str]
    spaces: Sequence[Space]
    body: Callable[..., str]
    reference: Callable[..., object]
    inputs: Callable[..., list]
    wordings: Mapping[str, Sequence[str] | Mapping[Any, Sequence[str]]]
    phrases: Mapping[str, tuple[str, Phrases]] = field(default_factory=dict)
    valid: Callable[..., bool] = lambda *parameters: True

    def draw(self, rng: Random) -> Parameters:
        while True:
            space = rng.choices(self.spaces, [space.weight for space in self.spaces])[0]
            parameters = space.draw(rng)
            if self.valid(*parameters):
                return parameters

    def is_held_out(self, parameters: Parameters) -> bool:
        """Whether no training task has these parameters: one tuple in ten, by a hash of family and parameters.

        Each value is trained in other tuples: held-out tasks test new combinations. A space without combinations has no
        held-out tuple.
        """
        if not any(space.recombines for space in self.spaces if parameters in space):
            return False
        return hashlib.sha256(f"{self.name} {parameters!r}".encode()).digest()[0] * HELD_OUT_TUPLES < 256

    def describe(self, rng: Random, language: str, x: str, parameters: Parameters) -> str:
        """A noun phrase for the returned value."""
        slots = dict(zip(self.spaces[0].slots, parameters, strict=True))
        shown = {name: literal(value) for name, value in slots.items()}
        shown |= {f"{name}_th": ordinal(value) for name, value in slots.items() if isinstance(value, int)}
        for name, (slot, phrases) in self.phrases.items():
            shown[name] = rng.choice(phrases[language][slots[slot]]).format(x=x, **shown)
        wordings = self.wordings[language]
        if isinstance(wordings, Mapping):
            wordings = wordings[parameters[0]]
        text = rng.choice(wordings).format(x=x, **shown)
        return spaced(text) if language == "zh" else text


def literal(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


_BORDER = re.compile(r'(?<=[\u4e00-\u9fff])(?=[A-Za-z"])|(?<=[A-Za-z")\]])(?=[\u4e00-\u9fff])')


def spaced(text: str) -> str:
    """Chinese text with spaces around names and strings, which then have the same tokens as in code."""
    return _BORDER.sub(" ", text)
