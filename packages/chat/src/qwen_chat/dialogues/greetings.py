"""Greetings: the answer greets back, by name."""

from __future__ import annotations

from qwen_chat.dialogues.dialogue import Target
from qwen_chat.dialogues.family import Family, Solution
from qwen_chat.dialogues.tables import GIFTS, LANGUAGES, NAMES

_HELLO = {
    "en": ("Hello", "Hi", "Good morning", "Good evening", "Good day"),
    "zh": ("你好", "您好", "早上好", "下午好", "晚上好"),
}
_GOODBYE = {
    "en": ("Goodbye", "Bye", "See you", "Good night", "Take care"),
    "zh": ("再见", "拜拜", "晚安", "明天见", "回头见"),
}
_WELCOME = {"en": "You are welcome", "zh": "不客气"}
_COMMA = {"en": ", ", "zh": "，"}


def _by_name(language: str, word: str, name: str, others: tuple[str, ...] = ()) -> Solution:
    """A word and a name; wrong is another name, or one of the `others`."""
    comma = _COMMA[language]
    names = tuple(other for other in NAMES[language] if other != name)
    words = tuple(other for other in others if other != word)
    rivals = [f"{word}{comma}{other}" for other in names] + [f"{other}{comma}{name}" for other in words]
    return Solution(Target(language, f"{word}{comma}{name}", (word, name), (*names, *words)), tuple(rivals))


FAMILIES = (
    Family(
        "hello",
        "greeting",
        {language: {"hello": _HELLO[language], "name": NAMES[language]} for language in LANGUAGES},
        {
            "en": (
                "{hello}! I am {name}.",
                "{hello}, my name is {name}.",
                "{hello}! This is {name}.",
                "{hello}, I am called {name}.",
                "{hello}, it is me, {name}.",
            ),
            "zh": (
                "{hello}！我是{name}。",
                "{hello}，我叫{name}。",
                "{hello}，我的名字是{name}。",
                "{hello}，这里是{name}。",
                "{hello}！大家叫我{name}。",
            ),
        },
        lambda language, hello, name: _by_name(language, hello, name, _HELLO[language]),
        {
            "en": ("{core}, it is nice to meet you.", "{core}, I am glad to see you."),
            "zh": ("{core}，很高兴认识你。", "{core}，见到你很高兴。"),
        },
        {"en": 'You said "{hello}".', "zh": "你说了“{hello}”。"},
        opens="",
    ),
    Family(
        "goodbye",
        "greeting",
        {language: {"goodbye": _GOODBYE[language], "name": NAMES[language]} for language in LANGUAGES},
        {
            "en": (
                "I am {name}, I have to go. {goodbye}!",
                "{name} has to go now. {goodbye}!",
                "It is late, {name} has to sleep. {goodbye}!",
                "{goodbye}! Your friend {name}.",
            ),
            "zh": (
                "我是{name}，我要走了。{goodbye}！",
                "{name}要回家了，{goodbye}！",
                "时间不早了，{name}要睡了。{goodbye}！",
                "{goodbye}！你的朋友{name}。",
            ),
        },
        lambda language, goodbye, name: _by_name(language, goodbye, name, _GOODBYE[language]),
        {
            "en": ("{core}, it was nice to talk to you.", "{core}, I wish you well."),
            "zh": ("{core}，和你聊天很愉快。", "{core}，祝你一切顺利。"),
        },
        {"en": 'You said "{goodbye}".', "zh": "你说了“{goodbye}”。"},
        opens="",
    ),
    Family(
        "thanks",
        "greeting",
        {language: {"gift": GIFTS[language], "name": NAMES[language]} for language in LANGUAGES},
        {
            "en": (
                "I am {name}. Thank you for the {gift}!",
                "Thank you for the {gift}! It is me, {name}.",
                "{name} thanks you for the {gift}.",
            ),
            "zh": ("我是{name}，谢谢你的{gift}！", "谢谢你的{gift}！我是{name}。", "{name}谢谢你的{gift}。"),
        },
        lambda language, gift, name: _by_name(language, _WELCOME[language], name),
        {
            "en": ("{core}, I am glad that you like it.", "{core}, it is nice of you to say so."),
            "zh": ("{core}，你喜欢就好。", "{core}，这是我应该做的。"),
        },
        {"en": "You said thank you for the {gift}.", "zh": "你说了谢谢我的{gift}。"},
        opens="",
    ),
)
