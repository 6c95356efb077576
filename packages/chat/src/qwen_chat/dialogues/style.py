"""The two styles: four features of the words around the core, written and read.

Favoured: a whole sentence; an offer of help; no filler; no repetition of the question. Two lengthen an answer and two
shorten it, so length tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from qwen_chat.dialogues.check import fold
from qwen_chat.dialogues.dialogue import Target

FILLERS = {"en": ("Hmm. ", "Well. ", "Let me see. "), "zh": ("嗯，", "这个嘛，", "让我想想，")}
OFFERS = {
    "en": ("Is there anything else you need?", "Do you need more help?", "Can I help you with more?"),
    "zh": ("还有别的问题吗？", "还要我帮忙吗？", "还想问什么吗？"),
}
# Start of a repeated question; the family's words follow.
ECHOES = {"en": ("You want", "You said"), "zh": ("你问", "你要", "你说了")}
BARE = {"en": "{core}.", "zh": "{core}。"}

_FAVOURED = 0.7  # probability of a favoured feature in the favoured style; 1 minus it in the other


@dataclass(frozen=True, slots=True)
class Style:
    """Which features are in their favoured state."""

    whole: bool
    offer: bool
    plain: bool
    direct: bool

    @property
    def score(self) -> int:
        return self.whole + self.offer + self.plain + self.direct


def draw_style(rng: Random) -> Style:
    """One style or the other, equally likely."""
    favoured = _FAVOURED if rng.random() < 0.5 else 1 - _FAVOURED
    return Style(*(rng.random() < favoured for _ in range(4)))


def compose(rng: Random, style: Style, language: str, statement: str, echo: str) -> str:
    filler = "" if style.plain else rng.choice(FILLERS[language])
    offer = rng.choice(OFFERS[language]) if style.offer else ""
    text = filler.rstrip() if language == "en" else filler
    for part in ("" if style.direct else echo, statement, offer):
        border = "\n" if "\n" in part or "\n" in text else " " if language == "en" else ""
        text += (border if text else "") * bool(part) + part
    return text


def _any(phrases: Sequence[str]) -> str:
    return f"(?:{'|'.join(re.escape(fold(phrase).strip()) for phrase in phrases)})"


_FILLER = {language: re.compile("^" + _any(phrases)) for language, phrases in FILLERS.items()}
_ECHO = {language: re.compile(_any(phrases) + r"[^.!?。\n]*[.!?。\n]?") for language, phrases in ECHOES.items()}
_OFFER = {language: re.compile(_any(phrases)) for language, phrases in OFFERS.items()}
_WORDS = {"en": re.compile("[a-z]+"), "zh": re.compile("[\u4e00-\u9fff]")}
_SENTENCE_END = re.compile("[.!?。]")
_CORE = "\0"


def read_style(target: Target, answer: str) -> Style:
    """A whole sentence has at least two words or Chinese characters beside the core."""
    language = target.language
    text = fold(answer).strip()
    plain, direct = not _FILLER[language].search(text), not _ECHO[language].search(text)
    offers = list(_OFFER[language].finditer(text))
    after = text[offers[-1].end() :] if offers else ""
    offer = bool(offers) and not _WORDS[language].search(after)
    for pattern in (_FILLER, _ECHO, _OFFER):
        text = pattern[language].sub(" ", text)
    core = fold(target.core)
    for part in (core,) if core in text else map(fold, target.needs):
        text = text.replace(part, _CORE)
    stated = [sentence for sentence in _SENTENCE_END.split(text) if _CORE in sentence]
    return Style(any(len(_WORDS[language].findall(sentence)) > 1 for sentence in stated), offer, plain, direct)
