"""Words to find in the question and to say again."""

from __future__ import annotations

from qwen_chat.dialogues.dialogue import Target
from qwen_chat.dialogues.family import Family, Solution, among
from qwen_chat.dialogues.tables import GROUPS, LANGUAGES, WORDS

_POSITIONS = {"en": ("first", "second", "last"), "zh": ("第一", "第二", "最后一")}
_AND = {"en": " and ", "zh": "和"}
_ANY = {language: tuple(word for group in GROUPS[language].values() for word in group) for language in LANGUAGES}


def _both(language: str, a: str, b: str) -> Solution:
    others = [word for word in WORDS[language] if word not in (a, b)]
    rivals = [f"{a}{_AND[language]}{other}" for other in others] + [f"{other}{_AND[language]}{b}" for other in others]
    return Solution(Target(language, f"{a}{_AND[language]}{b}", (a, b), tuple(others)), tuple(rivals))


def _at(language: str, position: str, *listed: str) -> Solution:
    return among(language, listed[_POSITIONS[language].index(position)], listed)


def _member(language: str, group: str, *listed: str) -> Solution:
    return among(language, next(word for word in listed if word in GROUPS[language][group]), listed)


def _one_of_each(group: str, *listed: str) -> bool:
    groups = [name for word in listed for of in GROUPS.values() for name, members in of.items() if word in members]
    return len(set(groups)) == len(listed)


FAMILIES = (
    Family(
        "repeat",
        "copying",
        {language: {"a": WORDS[language], "b": WORDS[language]} for language in LANGUAGES},
        {
            "en": ("Repeat the words {a} and {b}.", "Say {a} and {b}.", "Write the words {a} and {b}."),
            "zh": ("重复这两个词：{a}和{b}。", "请说{a}和{b}。", "写出{a}和{b}这两个词。"),
        },
        _both,
        {"en": ("The words are {core}.", "I say {core}."), "zh": ("这两个词是{core}。", "我说的是{core}。")},
        {"en": "You want me to repeat two words.", "zh": "你要我重复两个词。"},
        opens="request",
        valid=lambda a, b: a != b,
    ),
    Family(
        "position",
        "copying",
        {
            language: {"position": _POSITIONS[language]} | dict.fromkeys(("a", "b", "c"), WORDS[language])
            for language in LANGUAGES
        },
        {
            "en": ("Which word is {position}: {a}, {b}, {c}?", "What is the {position} word of {a}, {b}, {c}?"),
            "zh": ("{position}个词是哪个：{a}、{b}、{c}？", "{a}、{b}、{c}，{position}个词是什么？"),
        },
        _at,
        {
            "en": ("The {position} word is {core}.", "It is the word {core}."),
            "zh": ("{position}个词是{core}。", "这个词是{core}。"),
        },
        {"en": "You want the {position} word.", "zh": "你问{position}个词。"},
        valid=lambda position, *listed: len(set(listed)) == 3,
    ),
    Family(
        "category",
        "copying",
        {
            language: {"group": tuple(GROUPS[language])} | dict.fromkeys(("a", "b", "c"), _ANY[language])
            for language in LANGUAGES
        },
        {
            "en": ("Which is {group}: {a}, {b}, {c}?", "Which of {a}, {b}, {c} is {group}?"),
            "zh": ("哪个是{group}：{a}、{b}、{c}？", "{a}、{b}、{c}，哪个是{group}？"),
        },
        _member,
        {
            "en": ("Of these, {core} is {group}.", "It is the word {core}."),
            "zh": ("其中{core}是{group}。", "这个词是{core}。"),
        },
        {"en": "You want the name of {group}.", "zh": "你问哪个是{group}。"},
        valid=_one_of_each,
    ),
)
