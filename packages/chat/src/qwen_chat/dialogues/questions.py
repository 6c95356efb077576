"""Questions about small tables of facts."""

from __future__ import annotations

from qwen_chat.dialogues.family import Family, among
from qwen_chat.dialogues.tables import CAPITALS, COLOURS, LANGUAGES, MEASURES, OPPOSITES, PLURALS

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
)
