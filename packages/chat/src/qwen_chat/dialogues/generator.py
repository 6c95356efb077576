"""Dialogues from a seed, and a held-out set that shares no prompts or parameters with them.

A hash of family, language and parameters decides what is held out, independent of seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from qwen_chat.dialogues import greetings, instructions, questions, refusals, roles, turns
from qwen_chat.dialogues.dialogue import Dialogue, normalise
from qwen_chat.dialogues.family import Family
from qwen_chat.dialogues.style import draw_style
from qwen_chat.dialogues.tables import LANGUAGES
from qwen_shared.errors import UserError

FAMILIES = (
    *greetings.FAMILIES,
    *questions.FAMILIES,
    *instructions.FAMILIES,
    *refusals.FAMILIES,
    *roles.FAMILIES,
    *turns.FAMILIES,
)
BY_NAME = {family.name: family for family in FAMILIES}
KINDS = tuple(dict.fromkeys(family.kind for family in FAMILIES))
HELD_OUT = ("dialogues",)

# Opening of a request, in two parts; half of the dialogues have no first part.
_HAILS = {"en": ("Hi! ", "Hello! ", "Hey! ", "Good day! "), "zh": ("你好！", "您好！", "嗨！", "早！")}
_LEADS = {
    "question": {
        "en": ("", "", "Tell me: ", "A question: ", "Now tell me: ", "Do you know this? "),
        "zh": ("", "", "请问，", "我想问，", "问题：", "请告诉我，"),
    },
    "request": {
        "en": ("", "", "A task: ", "Now this: ", "Next one: ", "Please help me. "),
        "zh": ("", "", "任务：", "下一个：", "帮个忙：", "现在，"),
    },
}
# System prompts that do not change the answer.
_SYSTEMS = {
    "en": ("You are a helpful assistant.", "Be kind.", "Be brief.", "You answer questions."),
    "zh": ("你是一个有用的助手。", "请友好地回答。", "你回答问题。", "请认真回答。"),
}
_SYSTEMS_SHARE = 0.25
# Kinds that models learn early are rarer.
_SELDOM = {"greeting": 0.75, "question": 0.75, "refusal": 0.5}
_TRIES = 1000


def training(seed: int, count: int, languages: Sequence[str] = LANGUAGES) -> Iterator[Dialogue]:
    """`count` training dialogues with distinct prompts, the same on every machine.

    A longer sequence begins with the shorter one. Raises UserError for an unknown language, and if a family runs out of
    prompts (beyond about 55,000).
    """
    return stream(f"training {seed}", count, languages)


def prompts(seed: int, count: int, languages: Sequence[str] = LANGUAGES) -> Iterator[Dialogue]:
    """`count` dialogues for rollouts, like `training` in another order."""
    return stream(f"prompts {seed}", count, languages)


def held_out(name: str = "dialogues", per_kind: int = 120, languages: Sequence[str] = LANGUAGES) -> list[Dialogue]:
    """`per_kind` held-out dialogues of each kind, families and languages in turn.

    Each single value occurs in training, never the same parameters. Raises UserError for an unknown name or language.
    """
    if name not in HELD_OUT:
        raise UserError(f"held-out set '{name}': there is {', '.join(HELD_OUT)}")
    known_languages(languages)
    seen: set[str] = set()
    dialogues = []
    for kind in KINDS:
        for index in range(per_kind):
            language = languages[index % len(languages)]
            families = families_in(language, kind)
            family = families[index // len(languages) % len(families)]
            dialogues.append(draw(Random(f"{name} {kind} {index}"), family, language, seen, held_out=True))
    return dialogues


def stream(name: str, count: int, languages: Sequence[str], held_out: bool = False) -> Iterator[Dialogue]:
    known_languages(languages)
    return _stream(name, count, languages, held_out)


def _stream(name: str, count: int, languages: Sequence[str], held_out: bool) -> Iterator[Dialogue]:
    seen: set[str] = set()
    for index in range(count):
        rng = Random(f"{name} {index}")
        language = rng.choice(languages)
        families = families_in(language)
        weights = [_SELDOM.get(family.kind, 1.0) for family in families]
        yield draw(rng, rng.choices(families, weights)[0], language, seen, held_out)


def is_held_out(dialogue: Dialogue) -> bool:
    return BY_NAME[dialogue.family].is_held_out(dialogue.language, dialogue.parameters)


def families_in(language: str, kind: str = "") -> list[Family]:
    return [family for family in FAMILIES if language in family.slots and kind in ("", family.kind)]


def draw(rng: Random, family: Family, language: str, seen: set[str], held_out: bool) -> Dialogue:
    """Raises UserError if no new prompt is found."""
    for _ in range(_TRIES):
        values = family.draw(rng, language)
        opening = _opening(rng, family, language)
        parameters = family.parameters(values, opening)
        if family.is_held_out(language, parameters) != held_out:
            continue
        system = _system(rng, family, language, values)
        dialogue = Dialogue(
            family.name,
            family.kind,
            language,
            system,
            _turns(rng, family, language, values, opening),
            family.answer(rng, draw_style(rng), language, values),
            family.solve(language, *values).target,
            values,
            opening,
            parameters,
        )
        key = normalise(dialogue)
        if key not in seen:
            seen.add(key)
            return dialogue
    raise UserError(f"dialogues of family {family.name}: no further one with a new prompt; ask for fewer")


def known_languages(languages: Sequence[str]) -> None:
    for language in languages or ("",):
        if language not in LANGUAGES:
            raise UserError(f"language '{language}' of the embedded dialogues: there are {', '.join(LANGUAGES)}")


def _opening(rng: Random, family: Family, language: str) -> tuple[str, str]:
    if not family.opens:
        return "", ""
    hail = rng.choice(_HAILS[language]) if rng.random() < 0.5 else ""
    return hail, rng.choice(_LEADS[family.opens][language])


def _system(rng: Random, family: Family, language: str, values: tuple) -> str | None:
    if family.systems:
        return rng.choice(family.systems[language]).format(**family.shown(language, values))
    return rng.choice(_SYSTEMS[language]) if rng.random() < _SYSTEMS_SHARE else None


def _turns(rng: Random, family: Family, language: str, values: tuple, opening: tuple[str, str]) -> tuple[str, ...]:
    request = rng.choice(family.requests[language])
    first, *others = (request,) if isinstance(request, str) else request
    shown = family.shown(language, values)
    return tuple(text.format(**shown) for text in ("".join(opening) + first, *others))
