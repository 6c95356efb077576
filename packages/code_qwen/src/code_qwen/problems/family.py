"""What makes a family of tasks: the values it draws, the code and the reference for them, and how it is said."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from code_qwen.problems.task import Value

HELD_OUT_TUPLES = 10  # one in so many

Parameters = tuple[Value, ...]
# By language, then by the value that decides: the phrases to choose from, with the slots they mention in braces.
Phrases = Mapping[str, Mapping[Value, Sequence[str]]]


@dataclass(frozen=True)
class Space:
    """Values for each slot of a family, combined freely; `weight` is how often a family draws from this space."""

    weight: float
    slots: Mapping[str, Sequence[Value]]

    def draw(self, rng: Random) -> Parameters:
        return tuple(rng.choice(values) for values in self.slots.values())

    def __contains__(self, parameters: Parameters) -> bool:
        return all(value in values for value, values in zip(parameters, self.slots.values(), strict=True))

    @property
    def recombines(self) -> bool:
        """Whether a tuple can be new although each of its values is known: two slots at least have a choice."""
        return sum(len(values) > 1 for values in self.slots.values()) > 1


@dataclass(frozen=True, eq=False)  # each is itself and no other
class Family:
    """A program of fixed shape with slots for values.

    `argument` is the kind of the function's only argument (a key of ARGUMENTS). `body(x, *parameters)` is the text of
    the solution's body for an argument named x; `reference(x, *parameters)` computes the same in another way, so that
    tests prove the body instead of repeating it; `inputs(rng, *parameters)` are arguments that tell these parameters
    from their neighbours. `wordings` name what is returned, by language, or by language and the first parameter;
    `phrases` fill one name in a wording by the value of a slot: name → (slot, phrases).
    """

    name: str
    argument: str
    verbs: Sequence[str]
    spaces: Sequence[Space]
    body: Callable[..., str]
    reference: Callable[..., object]
    inputs: Callable[..., list]
    wordings: Mapping[str, Sequence[str] | Mapping[Value, Sequence[str]]]
    phrases: Mapping[str, tuple[str, Phrases]] = field(default_factory=dict)
    valid: Callable[..., bool] = lambda *parameters: True

    def draw(self, rng: Random) -> Parameters:
        """Values for the slots; each space as often as its weight says."""
        while True:
            space = rng.choices(self.spaces, [space.weight for space in self.spaces])[0]
            parameters = space.draw(rng)
            if self.valid(*parameters):
                return parameters

    def is_held_out(self, parameters: Parameters) -> bool:
        """Whether no training task has these parameters: so says a hash of the family and them, one in ten times.

        Each single value stays in training with other partners, since what is asked of a model is to put known values
        into known programs in combinations that it has not seen. Hence a space without combinations has none held out.
        """
        if not any(space.recombines for space in self.spaces if parameters in space):
            return False
        return hashlib.sha256(f"{self.name} {parameters!r}".encode()).digest()[0] * HELD_OUT_TUPLES < 256

    def describe(self, rng: Random, language: str, x: str, parameters: Parameters) -> str:
        """A noun phrase for what the function returns."""
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
    """A value as it stands in text and code."""
    return f'"{value}"' if isinstance(value, str) else str(value)


def ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


_BORDER = re.compile(r'(?<=[\u4e00-\u9fff])(?=[A-Za-z"])|(?<=[A-Za-z")\]])(?=[\u4e00-\u9fff])')


def spaced(text: str) -> str:
    """Chinese text with a space where it meets a name or a string: there these have the tokens they have in code."""
    return _BORDER.sub(" ", text)
