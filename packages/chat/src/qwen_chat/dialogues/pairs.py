"""Pairs of answers to one prompt, one better by the preference score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from qwen_chat.dialogues.check import meets
from qwen_chat.dialogues.dialogue import Dialogue
from qwen_chat.dialogues.generator import BY_NAME, families_in, stream
from qwen_chat.dialogues.refusals import REFUSAL, UNDUE
from qwen_chat.dialogues.score import is_broken
from qwen_chat.dialogues.style import Style, draw_style
from qwen_chat.dialogues.tables import LANGUAGES

# Frequency of the reasons for a preference.
REASONS = {"style": 0.74, "core": 0.16, "broken": 0.1}

_SAME_STYLE = 0.4  # of pairs with a wrong core: same style; in the others the wrong answer may have the better style
_CUT = 0.6  # of pairs with a broken answer: cut off; the others repeat it
# Replacements of the right core: a near one, an undue refusal, an answer to another question.
_WRONG = {"near": 0.4, "refusal": 0.3, "other": 0.3}


@dataclass(frozen=True, slots=True)
class Pair:
    """`tag` is the dialogue's kind; `reason` is a key of REASONS: only the style, a wrong core, or an answer that is
    cut off or repeats itself.
    """

    dialogue: Dialogue
    chosen: str
    rejected: str
    tag: str
    reason: str


def pairs(seed: int, count: int, languages: Sequence[str] = LANGUAGES) -> Iterator[Pair]:
    """`count` pairs on training prompts, the same on every machine; a longer sequence begins with the shorter one.

    The longer answer is chosen about half the time.
    """
    return _pairs(f"pairs {seed}", stream(f"pairs {seed}", count, languages))


def held_out_pairs(count: int = 1000, languages: Sequence[str] = LANGUAGES) -> list[Pair]:
    return list(_pairs("held-out pairs", stream("held-out pairs", count, languages, held_out=True)))


def _pairs(name: str, dialogues: Iterator[Dialogue]) -> Iterator[Pair]:
    for index, dialogue in enumerate(dialogues):
        rng = Random(f"{name} answers {index}")
        reason = rng.choices(list(REASONS), list(REASONS.values()))[0]
        chosen, rejected = {"style": _by_style, "core": _by_core, "broken": _by_end}[reason](rng, dialogue)
        yield Pair(dialogue, chosen, rejected, dialogue.kind, reason)


def _by_style(rng: Random, dialogue: Dialogue) -> tuple[str, str]:
    while True:
        one, other = draw_style(rng), draw_style(rng)
        if one.score != other.score:
            break
    better, worse = sorted((one, other), key=lambda style: style.score, reverse=True)
    return _answer(rng.random(), dialogue, better), _answer(rng.random(), dialogue, worse)


def _by_core(rng: Random, dialogue: Dialogue) -> tuple[str, str]:
    style, words = draw_style(rng), rng.random()
    chosen = _answer(words, dialogue, style)
    if rng.random() >= _SAME_STYLE:
        style, words = draw_style(rng), rng.random()
    while True:
        rejected = _wrong(rng, words, dialogue, style)
        if not meets(dialogue.target, rejected):
            return chosen, rejected


def _by_end(rng: Random, dialogue: Dialogue) -> tuple[str, str]:
    chosen = _answer(rng.random(), dialogue, draw_style(rng))
    whole = _answer(rng.random(), dialogue, draw_style(rng))
    if rng.random() < _CUT:
        cuts = [whole[:end].rstrip() for end in range(len(whole) // 3, len(whole))]
        broken = [cut for cut in cuts if cut and is_broken(dialogue.target, cut)]
        if broken:
            return chosen, rng.choice(broken)
    return chosen, (" " if dialogue.language == "en" else "").join([whole] * 3)


def _answer(words: float, dialogue: Dialogue, style: Style, core: str = "", sentences: Sequence[str] = ()) -> str:
    """Equal `words` choose equal words for the same style."""
    family = BY_NAME[dialogue.family]
    return family.answer(Random(words), style, dialogue.language, dialogue.values, core, sentences)


def _wrong(rng: Random, words: float, dialogue: Dialogue, style: Style) -> str:
    family, language = BY_NAME[dialogue.family], dialogue.language
    way = rng.choices(list(_WRONG), list(_WRONG.values()))[0]
    if way == "near" or family.kind == "refusal":
        rival = rng.choice(family.solve(language, *dialogue.values).rivals)
        return _answer(words, dialogue, style, rival, family.complying.get(language, ()))
    if way == "refusal":
        return _answer(words, dialogue, style, REFUSAL[language], UNDUE[language])
    other = rng.choice(families_in(language))
    return other.answer(Random(words), style, language, other.draw(rng, language))
