"""System prompts that give the assistant a name and a job."""

from __future__ import annotations

from qwen_chat.dialogues.family import Family, among
from qwen_chat.dialogues.tables import JOBS, LANGUAGES, NAMES

_PERSONA = {
    "en": ("You are {name}, a {job}.", "Your name is {name}. You are a {job}."),
    "zh": ("你是{name}，是一名{job}。", "你叫{name}，职业是{job}。"),
}
_SLOTS = {language: {"name": NAMES[language], "job": JOBS[language]} for language in LANGUAGES}

FAMILIES = (
    Family(
        "persona_name",
        "role",
        _SLOTS,
        {
            "en": ("What is your name?", "Who are you?", "Who am I talking to?"),
            "zh": ("你叫什么名字？", "你的名字是什么？", "你是谁？"),
        },
        lambda language, name, job: among(language, name, NAMES[language]),
        {"en": ("My name is {core}.", "You are talking to {core}."), "zh": ("我的名字是{core}。", "我叫{core}。")},
        {"en": "You want to know my name.", "zh": "你问我的名字。"},
        systems=_PERSONA,
    ),
    Family(
        "persona_job",
        "role",
        _SLOTS,
        {
            "en": ("What is your job?", "What do you do?", "What do you work as?"),
            "zh": ("你的职业是什么？", "你是做什么的？", "你做什么工作？"),
        },
        lambda language, name, job: among(language, job, JOBS[language]),
        {"en": ("I am a {core}.", "I work as a {core}."), "zh": ("我的职业是{core}。", "我是一名{core}。")},
        {"en": "You want to know my job.", "zh": "你问我的职业。"},
        systems=_PERSONA,
    ),
)
