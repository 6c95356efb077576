"""Families of functions of a string."""

from __future__ import annotations

from random import Random

from code_qwen.problems.family import Family, Space, literal
from code_qwen.problems.vocabulary import AFFIXES, LETTERS, STRINGS


def _wrap_reference(x: str, before: str, after: str) -> str:
    return "".join((before, x, after))


WRAP = Family(
    name="wrap",
    argument="text",
    verbs=("wrap", "mark", "quote", "format", "build", "make", "add"),
    spaces=[Space(1, {"before": AFFIXES, "after": AFFIXES})],
    body=lambda x, before, after: f"return {literal(before)} + {x} + {literal(after)}",
    reference=_wrap_reference,
    inputs=lambda rng, before, after: ["", "a", " b ", before, after, rng.choice(STRINGS)],
    wordings={
        "en": (
            "{x} with {before} before it and {after} after it",
            "the string {before} plus {x} plus {after}",
            "{x} between {before} and {after}",
        ),
        "zh": (
            "在{x}前面加上{before}、后面加上{after}的字符串",
            "{before}、{x}和{after}依次连接成的字符串",
            "{x}，前面加{before}，后面加{after}",
        ),
    },
)


def _replace_inputs(rng: Random, old: str, new: str) -> list[str]:
    texts = ["", old, old * 3, new, new + old, "".join(LETTERS)]
    return [*texts, *(rng.choice(STRINGS) + old + rng.choice(STRINGS) for _ in range(2))]


REPLACE = Family(
    name="replace",
    argument="text",
    verbs=("replace", "change", "swap", "fix", "convert", "clean", "update"),
    spaces=[Space(1, {"old": LETTERS, "new": (*LETTERS, *"-_*#")})],
    body=lambda x, old, new: f"return {x}.replace({literal(old)}, {literal(new)})",
    reference=lambda x, old, new: new.join(x.split(old)),
    inputs=_replace_inputs,
    wordings={
        "en": (
            "{x} with every {old} replaced by {new}",
            "{x} after changing each {old} to {new}",
            "{x} with {new} in place of each {old}",
        ),
        "zh": (
            "把{x}中的{old}都替换成{new}的结果",
            "{x}中所有{old}换成{new}后的字符串",
            "将{x}里每个{old}改为{new}的字符串",
        ),
    },
    valid=lambda old, new: old != new,
)

_SEARCHES = {
    "starts": "{x}.startswith({s})",
    "ends": "{x}.endswith({s})",
    "contains": "{s} in {x}",
    "times": "{x}.count({s})",
}


def _search_reference(x: str, kind: str, s: str) -> bool | int:
    if kind == "starts":
        return x[: len(s)] == s
    if kind == "ends":
        return len(x) >= len(s) and x[len(x) - len(s) :] == s
    times = len(x.split(s)) - 1
    return times > 0 if kind == "contains" else times


def _search_inputs(rng: Random, kind: str, s: str) -> list[str]:
    parts = [s[i:j] for i in range(len(s)) for j in range(i + 1, len(s) + 1)]  # substrings
    return list(dict.fromkeys(["", *parts, f"{s}0", f"0{s}", f"0{s}0{s}0", s + s, s.upper()]))


SEARCH = Family(
    name="search",
    argument="text",
    verbs=("check", "test", "has", "search", "match", "find", "look_at"),
    spaces=[Space(1, {"kind": tuple(_SEARCHES), "s": (*LETTERS, *STRINGS)})],
    body=lambda x, kind, s: "return " + _SEARCHES[kind].format(x=x, s=literal(s)),
    reference=_search_reference,
    inputs=_search_inputs,
    wordings={
        "en": {
            "starts": ("whether {x} starts with {s}", "True if {x} begins with {s}, else False"),
            "ends": ("whether {x} ends with {s}", "True if {x} ends in {s}, else False"),
            "contains": ("whether {x} contains {s}", "True if {s} occurs in {x}, else False"),
            "times": ("how many times {s} occurs in {x}", "the number of times {s} appears in {x}"),
        },
        "zh": {
            "starts": ("{x}是否以{s}开头", "{x}的开头是不是{s}"),
            "ends": ("{x}是否以{s}结尾", "{x}的结尾是不是{s}"),
            "contains": ("{x}是否包含{s}", "{x}中有没有{s}"),
            "times": ("{s}在{x}中出现的次数", "{x}里{s}的个数"),
        },
    },
)

FAMILIES = (WRAP, REPLACE, SEARCH)
