"""Questions about small tables of facts, sums of one digit, and which of two numbers is larger."""

from __future__ import annotations

from qwen_chat.dialogues.dialogue import Target
from qwen_chat.dialogues.family import Family, Solution, among
from qwen_chat.dialogues.tables import (
    CAPITALS,
    COLOURS,
    DAYS,
    DIGITS,
    LANGUAGES,
    MEASURES,
    OPPOSITES,
    PLURALS,
    TRANSLATIONS,
)

_DIRECTIONS = {"en": ("after", "before"), "zh": ("后一天", "前一天")}
_WHICH = {"en": ("larger", "smaller"), "zh": ("大", "小")}


def _day(language: str, direction: str, day: str) -> Solution:
    days = DAYS[language]
    step = 1 if direction == _DIRECTIONS[language][0] else -1
    return among(language, days[(days.index(day) + step) % 7], days, (day,))


def _sum(language: str, a: int, b: int) -> Solution:
    return among(language, str(a + b), [str(a + b + by) for by in (1, -1, 2, -2, 10)], (str(a), str(b)))


def _compared(language: str, which: str, a: int, b: int) -> Solution:
    larger, smaller = str(max(a, b)), str(min(a, b))
    core, other = (larger, smaller) if which == _WHICH[language][0] else (smaller, larger)
    return Solution(Target(language, core, (core,), (other,)), (other,))


def _translated(language: str, word: str) -> Solution:
    if language == "en":
        return among(language, TRANSLATIONS[word], list(TRANSLATIONS.values()))
    english = {chinese: english for english, chinese in TRANSLATIONS.items()}
    return among(language, english[word], list(TRANSLATIONS))


FAMILIES = (
    Family(
        "capital",
        "question",
        {language: {"country": tuple(CAPITALS[language])} for language in LANGUAGES},
        {
            "en": ("What is the capital of {country}?", "What city is the capital of {country}?"),
            "zh": ("{country}的首都是哪里？", "哪个城市是{country}的首都？"),
        },
        lambda language, country: among(language, CAPITALS[language][country], list(CAPITALS[language].values())),
        {
            "en": ("The capital of {country} is {core}.", "It is the city of {core}."),
            "zh": ("{country}的首都是{core}。", "首都是{core}。"),
        },
        {"en": "You want the capital of {country}.", "zh": "你问{country}的首都。"},
        facts=True,
    ),
    Family(
        "colour",
        "question",
        {language: {"thing": tuple(COLOURS[language])} for language in LANGUAGES},
        {
            "en": ("What colour is {thing}?", "What is the colour of {thing}?", "Which colour does {thing} have?"),
            "zh": ("{thing}是什么颜色？", "{thing}的颜色是什么？", "{thing}是什么颜色的？"),
        },
        lambda language, thing: among(language, COLOURS[language][thing], list(COLOURS[language].values())),
        {
            "en": ("The colour of {thing} is {core}.", "The colour is {core}."),
            "zh": ("{thing}的颜色是{core}。", "{thing}是{core}的。"),
        },
        {"en": "You want the colour of {thing}.", "zh": "你问{thing}的颜色。"},
        facts=True,
    ),
    Family(
        "opposite",
        "question",
        {language: {"word": tuple(OPPOSITES[language])} for language in LANGUAGES},
        {
            "en": ('What is the opposite of "{word}"?', 'Which word is the opposite of "{word}"?'),
            "zh": ("“{word}”的反义词是什么？", "和“{word}”相反的词是什么？"),
        },
        lambda language, word: among(language, OPPOSITES[language][word], list(OPPOSITES[language].values())),
        {
            "en": ("The opposite is {core}.", "The opposite of {word} is {core}."),
            "zh": ("它的反义词是{core}。", "{word}的反义词是{core}。"),
        },
        {"en": "You want the opposite of {word}.", "zh": "你问{word}的反义词。"},
        facts=True,
    ),
    Family(
        "day",
        "question",
        {language: {"direction": _DIRECTIONS[language], "day": DAYS[language]} for language in LANGUAGES},
        {
            "en": ("What day comes {direction} {day}?", "Which day is {direction} {day}?"),
            "zh": ("{day}的{direction}是星期几？", "{day}的{direction}是哪天？"),
        },
        _day,
        {
            "en": ("That day is {core}.", "The day {direction} {day} is {core}."),
            "zh": ("{day}的{direction}是{core}。",),
        },
        {"en": "You want the day {direction} {day}.", "zh": "你问{day}的{direction}。"},
        facts=True,
    ),
    Family(
        "plural",
        "question",
        {"en": {"word": tuple(PLURALS)}},
        {"en": ('What is the plural of "{word}"?', 'What do you call more than one "{word}"?')},
        lambda language, word: among(language, PLURALS[word], [*PLURALS.values(), f"{word}s"]),
        {"en": ("The plural is {core}.", "The plural of {word} is {core}.")},
        {"en": "You want the plural of {word}."},
        facts=True,
    ),
    Family(
        "measure",
        "question",
        {"zh": {"word": tuple(MEASURES)}},
        {"zh": ("“{word}”用什么量词？", "“{word}”的量词是什么？", "“{word}”应该怎么数？")},
        lambda language, word: among(
            language, MEASURES[word], [phrase[:2] + word for phrase in MEASURES.values()], (word,)
        ),
        {"zh": ("我们说{core}。", "应该说{core}。")},
        {"zh": "你问{word}的量词。"},
        facts=True,
    ),
    Family(
        "sum",
        "question",
        {language: {"a": DIGITS, "b": DIGITS} for language in LANGUAGES},
        {
            "en": ("What is {a} + {b}?", "What is {a} plus {b}?", "How much is {a} + {b}?"),
            "zh": ("{a} + {b} 等于几？", "{a} 加 {b} 是多少？", "{a} + {b} 是多少？"),
        },
        _sum,
        {
            "en": ("The sum is {core}.", "The sum {a} + {b} is {core}."),
            "zh": ("结果是 {core}。", "{a} + {b} 等于 {core}。"),
        },
        {"en": "You want the sum {a} + {b}.", "zh": "你问 {a} + {b}。"},
        facts=True,
    ),
    Family(
        "comparison",
        "question",
        {language: {"which": _WHICH[language], "a": DIGITS, "b": DIGITS} for language in LANGUAGES},
        {
            "en": ("Which is {which}, {a} or {b}?", "What is the {which} number, {a} or {b}?"),
            "zh": ("{a} 和 {b} 哪个{which}？", "哪个数{which}，{a} 还是 {b}？"),
        },
        _compared,
        {"en": ("The {which} number is {core}.", "It is the number {core}."), "zh": ("更{which}的数是 {core}。",)},
        {"en": "You want the {which} number.", "zh": "你问更{which}的数。"},
        valid=lambda which, a, b: a != b,
    ),
    Family(
        "translation",
        "question",
        {"en": {"word": tuple(TRANSLATIONS)}, "zh": {"word": tuple(TRANSLATIONS.values())}},
        {
            "en": ('What is "{word}" in Chinese?', 'How do I say "{word}" in Chinese?'),
            "zh": ("“{word}”用英语怎么说？", "“{word}”的英语是什么？"),
        },
        _translated,
        {
            "en": ("The Chinese word is {core}.", "You say {core} in Chinese."),
            "zh": ("英语的说法是 {core}。", "英语里说 {core}。"),
        },
        {"en": "You want the Chinese for {word}.", "zh": "你问{word}的英语。"},
        facts=True,
    ),
)
