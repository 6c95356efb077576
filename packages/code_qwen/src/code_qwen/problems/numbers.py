"""Families of functions of one number."""

from __future__ import annotations

from code_qwen.problems.conditions import COMPARISONS, CONDITIONS, condition_code, holds, numbers_near
from code_qwen.problems.family import Family, Space
from code_qwen.problems.vocabulary import STRINGS

_SIGNS = {"en": {"+": ("plus",), "-": ("minus",)}, "zh": {"+": ("加",), "-": ("减",)}}

LINEAR = Family(
    name="linear",
    argument="number",
    verbs=("scale", "shift", "adjust", "compute", "get", "change", "update"),
    spaces=[Space(1, {"k": range(2, 13), "op": ("+", "-"), "c": range(1, 21)})],
    body=lambda x, k, op, c: f"return {x} * {k} {op} {c}",
    reference=lambda x, k, op, c: sum([x] * k) + (c if op == "+" else -c),
    inputs=lambda rng, k, op, c: [0, 1, 2, -3, 10, rng.randint(11, 99)],
    wordings={
        "en": ("{x} times {k}, {sign} {c}", "{x} multiplied by {k}, {sign} {c}", "{k} times {x}, {sign} {c}"),
        "zh": ("{x}乘以{k}再{sign}{c}的结果", "{x}的{k}倍{sign}{c}", "{x}先乘{k}后{sign}{c}的值"),
    },
    phrases={"sign": ("op", _SIGNS)},
)

CLAMP = Family(
    name="clamp",
    argument="number",
    verbs=("clamp", "limit", "bound", "restrict", "clip", "check"),
    spaces=[Space(1, {"low": range(21), "high": range(21, 61)})],
    body=lambda x, low, high: f"return max({low}, min({high}, {x}))",
    reference=lambda x, low, high: low if x < low else high if x > high else x,
    inputs=lambda rng, low, high: [low - 1, low, low + 1, high - 1, high, high + 1, -100, 1000, (low + high) // 2],
    wordings={
        "en": (
            "{x} limited to the range from {low} to {high}",
            "{x} clamped between {low} and {high}",
            "{x}, but at least {low} and at most {high}",
        ),
        "zh": (
            "限制在{low}到{high}之间的{x}",
            "{x}，但最小为{low}，最大为{high}",
            "把{x}限定在{low}和{high}之间后的值",
        ),
    },
)

CHOOSE = Family(
    name="choose",
    argument="number",
    verbs=("label", "describe", "classify", "mark", "check", "rate", "name"),
    spaces=[Space(1, {"op": (*COMPARISONS, "==", "%"), "v": range(2, 41), "yes": STRINGS, "no": STRINGS})],
    body=lambda x, op, v, yes, no: f'return "{yes}" if {condition_code(x, op, v)} else "{no}"',
    reference=lambda x, op, v, yes, no: (no, yes)[holds(x, op, v)],
    inputs=lambda rng, op, v, yes, no: numbers_near(op, v),
    wordings={
        "en": (
            "{yes} if {x} is {cond}, otherwise {no}",
            "{yes} when {x} is {cond}, else {no}",
            "the string {yes} if {x} is {cond} and {no} if not",
        ),
        "zh": (
            "字符串：{x}{cond}时为{yes}，否则为{no}",
            "{yes}（如果{x}{cond}），否则{no}",
            "{yes}或{no}：当{x}{cond}时返回前者",
        ),
    },
    phrases={"cond": ("op", CONDITIONS)},
    valid=lambda op, v, yes, no: yes != no,
)

FAMILIES = (LINEAR, CLAMP, CHOOSE)
