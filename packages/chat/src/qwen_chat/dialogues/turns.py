"""Dialogues of two turns; the second asks about the first."""

from __future__ import annotations

from qwen_chat.dialogues.family import Family, among
from qwen_chat.dialogues.tables import CAPITALS, LANGUAGES, NAMES, TASTES

_SLOTS = {language: {"name": NAMES[language], "taste": TASTES[language]} for language in LANGUAGES}


def _about_me(question: str, language: str) -> tuple[tuple[str, str, str], ...]:
    if language == "en":
        return (
            ("My name is {name} and I like {taste}.", "Nice to meet you, {name}.", question),
            ("I am {name}. I like {taste}.", "Hello, {name}.", question),
        )
    return (
        ("我叫{name}，我喜欢{taste}。", "很高兴认识你，{name}。", question),
        ("我是{name}，喜欢{taste}。", "你好，{name}。", question),
    )


FAMILIES = (
    Family(
        "my_name",
        "multi_turn",
        _SLOTS,
        {
            "en": (*_about_me("What is my name?", "en"), *_about_me("Who am I?", "en")),
            "zh": (*_about_me("我叫什么名字？", "zh"), *_about_me("我是谁？", "zh")),
        },
        lambda language, name, taste: among(language, name, NAMES[language]),
        {
            "en": ("Your name is {core}.", "You told me that you are {core}."),
            "zh": ("你的名字是{core}。", "你叫{core}。"),
        },
        {"en": "You want to know your name.", "zh": "你问自己的名字。"},
        opens="",
    ),
    Family(
        "my_taste",
        "multi_turn",
        _SLOTS,
        {
            "en": (*_about_me("What do I like?", "en"), *_about_me("Do you know what I like?", "en")),
            "zh": (*_about_me("我喜欢什么？", "zh"), *_about_me("你知道我喜欢什么吗？", "zh")),
        },
        lambda language, name, taste: among(language, taste, TASTES[language]),
        {
            "en": ("The thing you like is {core}.", "You like {core} a lot."),
            "zh": ("你喜欢{core}。", "你喜欢的是{core}。"),
        },
        {"en": "You want to know what you like.", "zh": "你问自己喜欢什么。"},
        opens="",
    ),
    Family(
        "follow_up",
        "multi_turn",
        {
            language: {"first": tuple(CAPITALS[language]), "country": tuple(CAPITALS[language])}
            for language in LANGUAGES
        },
        {
            "en": (
                ("What is the capital of {first}?", "{known}.", "And of {country}?"),
                ("What city is the capital of {first}?", "{known}.", "What about {country}?"),
            ),
            "zh": (
                ("{first}的首都是哪里？", "{known}。", "{country}呢？"),
                ("哪个城市是{first}的首都？", "{known}。", "那么{country}呢？"),
            ),
        },
        lambda language, first, country: among(
            language, CAPITALS[language][country], list(CAPITALS[language].values()), (CAPITALS[language][first],)
        ),
        {
            "en": ("The capital of {country} is {core}.", "It is the city of {core}."),
            "zh": ("{country}的首都是{core}。", "首都是{core}。"),
        },
        {"en": "You want the capital of {country}.", "zh": "你问{country}的首都。"},
        valid=lambda first, country: first != country,
        names=lambda language, first, country: {"known": CAPITALS[language][first]},
    ),
)
