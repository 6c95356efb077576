"""Instructions with a form that can be checked."""

from __future__ import annotations

import json
from collections.abc import Callable

from qwen_chat.dialogues.dialogue import Target
from qwen_chat.dialogues.family import Family, Solution, among
from qwen_chat.dialogues.tables import CAPITALS, COLOURS, KEYS, LANGUAGES, WORDS

_MARKS = {
    "en": {"[brackets]": "[%s]", '"quotes"': '"%s"', "*stars*": "*%s*", "(parentheses)": "(%s)"},
    "zh": {"[方括号]": "[%s]", "“引号”": "“%s”", "*星号*": "*%s*", "《书名号》": "《%s》"},
}
_COMMA = {"en": ", ", "zh": "、"}
_COUNTS = {"en": {"two": 2, "three": 3}, "zh": {"两": 2, "三": 3}}
_CORE = dict.fromkeys(LANGUAGES, "{core}")


def _marked(language: str, country: str, mark: str) -> Solution:
    capital, marks = CAPITALS[language][country], _MARKS[language]
    core = marks[mark] % capital
    rivals = [marks[mark] % other for other in CAPITALS[language].values() if other != capital]
    rivals += [capital, *(marks[other] % capital for other in marks if other != mark)]
    return Solution(Target(language, core, (core,)), tuple(rivals))


def _upper(language: str, word: str) -> Solution:
    rivals = [word, word.capitalize(), *(other.upper() for other in WORDS["en"] if other != word)]
    bars = tuple(other for other in WORDS["en"] if other != word)
    return Solution(Target(language, word.upper(), (word.upper(),), bars, form="exact"), tuple(rivals))


def _numbered(words: tuple[str, ...]) -> str:
    return "\n".join(f"{index}. {word}" for index, word in enumerate(words, 1))


def _list(language: str, *listed: str) -> Solution:
    a, b, c = listed
    rivals = (_numbered((b, a, c)), _numbered((a, c, b)), _numbered((a, b)), f"{a}, {b}, {c}")
    return Solution(Target(language, _numbered(listed), listed, form="list"), rivals)


def _choice(language: str, number: str, *listed: str) -> Solution:
    count, glue = _COUNTS[language][number], _COMMA[language]
    core = glue.join(listed[:count])
    rivals = (glue.join(listed[: count - 1]), glue.join(listed[: count + 1]), glue.join(listed[count - 1 : count]))
    return Solution(
        Target(language, core, listed, form="choice", count=count), tuple(r for r in dict.fromkeys(rivals) if r != core)
    )


def _object(language: str, key: str, value: str) -> Solution:
    others = [word for word in WORDS[language] if word != value]
    rivals = [_json(key, other) for other in others] + [_json(other, value) for other in KEYS[language] if other != key]
    return Solution(Target(language, _json(key, value), (key, value), form="json"), (*rivals, f"{key}: {value}"))


def _json(key: str, value: str) -> str:
    return json.dumps({key: value}, ensure_ascii=False)


def _distinct(first: int) -> Callable[..., bool]:
    """Whether the values from one slot on are all different."""
    return lambda *values: len(set(values[first:])) == len(values[first:])


FAMILIES = (
    Family(
        "marked",
        "instruction",
        {language: {"country": tuple(CAPITALS[language]), "mark": tuple(_MARKS[language])} for language in LANGUAGES},
        {
            "en": ("Name the capital of {country} in {mark}.", "What is the capital of {country}? Use {mark}."),
            "zh": ("{country}的首都是哪里？请用{mark}。", "用{mark}写出{country}的首都。"),
        },
        _marked,
        {"en": ("The capital of {country} is {core}.",), "zh": ("{country}的首都是{core}。",)},
        {"en": "You want a capital in {mark}.", "zh": "你要带{mark}的首都。"},
        opens="request",
    ),
    Family(
        "upper",
        "instruction",
        {language: {"word": WORDS["en"]} for language in LANGUAGES},
        {
            "en": ("Write {word} in upper case.", "Put the word {word} in upper case.", "Write {word} in capitals."),
            "zh": ("把 {word} 改成大写。", "用大写字母写 {word}。", "{word} 的大写是什么？"),
        },
        _upper,
        {
            "en": ("In upper case it is {core}.", "The word is now {core}."),
            "zh": ("改成大写是 {core}。", "大写的词是 {core}。"),
        },
        {"en": "You want a word in upper case.", "zh": "你要大写的词。"},
        opens="request",
        facts=True,
    ),
    Family(
        "list",
        "instruction",
        {language: dict.fromkeys(("a", "b", "c"), WORDS[language]) for language in LANGUAGES},
        {
            "en": ("Make a numbered list: {a}, {b}, {c}.", "Put {a}, {b}, {c} in a numbered list."),
            "zh": ("列一个编号列表：{a}、{b}、{c}。", "把{a}、{b}、{c}写成编号列表。"),
        },
        _list,
        {"en": ("Here is your numbered list:\n{core}",), "zh": ("这是编号列表：\n{core}",)},
        {"en": "You want a numbered list.", "zh": "你要编号列表。"},
        bare=_CORE,
        opens="request",
        valid=_distinct(0),
    ),
    Family(
        "choice",
        "instruction",
        {
            language: {"number": tuple(_COUNTS[language])} | dict.fromkeys(("a", "b", "c", "d"), WORDS[language])
            for language in LANGUAGES
        },
        {
            "en": ("Name {number} of these: {a}, {b}, {c}, {d}.", "Choose {number} words: {a}, {b}, {c}, {d}."),
            "zh": ("说出其中{number}个：{a}、{b}、{c}、{d}。", "选{number}个词：{a}、{b}、{c}、{d}。"),
        },
        _choice,
        {"en": ("I choose the words {core}.", "My words are {core}."), "zh": ("我选的词是{core}。", "我选{core}。")},
        {"en": "You want {number} of the words.", "zh": "你要{number}个词。"},
        opens="request",
        valid=_distinct(1),
    ),
    Family(
        "json",
        "instruction",
        {language: {"key": KEYS[language], "value": WORDS[language]} for language in LANGUAGES},
        {
            "en": ("Write JSON: key {key}, value {value}.", "Give me a JSON object with {key} set to {value}."),
            "zh": ("写一个 JSON：键是 {key}，值是{value}。", "给我一个 JSON 对象，{key} 的值是{value}。"),
        },
        _object,
        {
            "en": ("Here is the JSON object: {core}", "The object is {core}"),
            "zh": ("这是 JSON 对象：{core}", "对象是 {core}"),
        },
        {"en": "You want a JSON object.", "zh": "你要 JSON 对象。"},
        bare=_CORE,
        opens="request",
    ),
    Family(
        "end",
        "instruction",
        {language: {"thing": tuple(COLOURS[language]), "word": WORDS[language]} for language in LANGUAGES},
        {
            "en": (
                "What colour is {thing}? End with the word {word}.",
                "Name the colour of {thing} and end with {word}.",
            ),
            "zh": ("{thing}是什么颜色？最后一个词用{word}。", "说出{thing}的颜色，用{word}结尾。"),
        },
        lambda language, thing, word: among(
            language, COLOURS[language][thing], list(COLOURS[language].values()), ends=word
        ),
        {"en": ("The colour of {thing} is {core}.", "The colour is {core}."), "zh": ("{thing}的颜色是{core}。",)},
        {"en": "You want the colour of {thing}.", "zh": "你问{thing}的颜色。"},
        opens="request",
    ),
)
