"""Instructions with a checkable form."""

from __future__ import annotations

from qwen_chat.dialogues.dialogue import Target
from qwen_chat.dialogues.family import Family, Solution
from qwen_chat.dialogues.tables import CAPITALS, LANGUAGES, WORDS

_MARKS = {
    "en": {"[brackets]": "[%s]", '"quotes"': '"%s"', "*stars*": "*%s*", "(parentheses)": "(%s)"},
    "zh": {"[方括号]": "[%s]", "“引号”": "“%s”", "*星号*": "*%s*", "《书名号》": "《%s》"},
}


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
)
