"""Compositions of two trained families, never trained: a model must combine what it learnt."""

from __future__ import annotations

from random import Random

from code_qwen.problems.conditions import (
    COMPARISONS,
    CONDITIONS,
    OPERATIONS,
    PARITIES,
    condition_code,
    holds,
    lists_near,
    operation,
)
from code_qwen.problems.family import Family, Space, literal
from code_qwen.problems.records import ORDERS, Row, sort_code, sort_inputs, sort_reference
from code_qwen.problems.vocabulary import AFFIXES, FIELDS, LETTERS, STRINGS

_NUMBERS = range(2, 41)
_CHANGES = ("+", "-", "*")
_CONDITION_AND_CHANGE = [
    Space(3, {"op": (*COMPARISONS, "%"), "v": _NUMBERS, "change": _CHANGES, "k": _NUMBERS}),
    Space(1, {"op": PARITIES, "v": (None,), "change": _CHANGES, "k": _NUMBERS}),
]

FILTER_MAP = Family(
    name="filter+map",
    argument="numbers",
    verbs=("filter", "change", "convert", "update", "get"),
    spaces=_CONDITION_AND_CHANGE,
    body=lambda x, op, v, change, k: f"return [n {change} {k} for n in {x} if {condition_code('n', op, v)}]",
    reference=lambda x, op, v, change, k: [operation(n, change, k) for n in filter(lambda n: holds(n, op, v), x)],
    inputs=lambda rng, op, v, change, k: lists_near(rng, op, v),
    wordings={
        "en": (
            "a list of the numbers in {x} that are {cond}, each {done}",
            "the numbers in {x} that are {cond}, each {done}",
        ),
        "zh": ("把{x}中每个{cond}的数{done}得到的列表", "{x}里每个{cond}的元素{done}后的列表"),
    },
    phrases={"cond": ("op", CONDITIONS), "done": ("change", OPERATIONS)},
)

FILTER_MAP_SUM = Family(
    name="aggregate+map",
    argument="numbers",
    verbs=("total", "compute", "combine", "reduce", "get"),
    spaces=_CONDITION_AND_CHANGE,
    body=lambda x, op, v, change, k: f"return sum(n {change} {k} for n in {x} if {condition_code('n', op, v)})",
    reference=lambda x, op, v, change, k: sum([operation(n, change, k) * holds(n, op, v) for n in x]),
    inputs=lambda rng, op, v, change, k: lists_near(rng, op, v),
    wordings={
        "en": (
            "the sum of the numbers in {x} that are {cond}, each {done} before adding",
            "the total of all elements of {x} that are {cond}, with each {done} first",
        ),
        "zh": ("{x}中{cond}的数各自{done}之后的和", "{x}里所有{cond}的元素先{done}再求和的结果"),
    },
    phrases={"cond": ("op", CONDITIONS), "done": ("change", OPERATIONS)},
)


def _filter_slice_reference(x: list[int], kind: str, a: int, op: str, v: int | None) -> list[int]:
    left: list[int] = []
    for n in x if kind == "first" else x[::-1]:
        if holds(n, op, v) and len(left) < a:
            left.append(n)
    return left if kind == "first" else left[::-1]


def _filter_slice_inputs(rng: Random, kind: str, a: int, op: str, v: int | None) -> list[list[int]]:
    around = [n for n in range(6 * (v or 2)) if n % 2 or n % (v or 2) == 0]
    return [
        *lists_near(rng, op, v),
        around,
        around[::-1],
        [n for n in range(-2 * a, 90 * a) if holds(n, op, v)][: a + 2],
    ]


FILTER_SLICE = Family(
    name="filter+slice",
    argument="numbers",
    verbs=("filter", "take", "select", "pick", "get"),
    spaces=[
        Space(3, {"kind": ("first", "last"), "a": range(2, 11), "op": (*COMPARISONS, "%"), "v": _NUMBERS}),
        Space(1, {"kind": ("first", "last"), "a": range(2, 11), "op": PARITIES, "v": (None,)}),
    ],
    body=lambda x, kind, a, op, v: (
        f"return [n for n in {x} if {condition_code('n', op, v)}][{f':{a}' if kind == 'first' else f'-{a}:'}]"
    ),
    reference=_filter_slice_reference,
    inputs=_filter_slice_inputs,
    wordings={
        "en": {
            "first": (
                "the first {a} numbers in {x} that are {cond}",
                "the first {a} of those numbers in {x} that are {cond}",
            ),
            "last": (
                "the last {a} numbers in {x} that are {cond}",
                "the last {a} of those numbers in {x} that are {cond}",
            ),
        },
        "zh": {
            "first": ("{x}中前{a}个{cond}的数", "{x}里所有{cond}的元素中的前{a}个"),
            "last": ("{x}中最后{a}个{cond}的数", "{x}里所有{cond}的元素中的最后{a}个"),
        },
    },
    phrases={"cond": ("op", CONDITIONS)},
)

REPLACE_WRAP = Family(
    name="replace+wrap",
    argument="text",
    verbs=("format", "change", "mark", "convert", "make"),
    spaces=[Space(1, {"before": AFFIXES, "after": AFFIXES, "old": LETTERS, "new": LETTERS})],
    body=lambda x, before, after, old, new: (
        f"return {literal(before)} + {x}.replace({literal(old)}, {literal(new)}) + {literal(after)}"
    ),
    reference=lambda x, before, after, old, new: "".join((before, new.join(x.split(old)), after)),
    inputs=lambda rng, before, after, old, new: ["", old, new + old, "".join(LETTERS), rng.choice(STRINGS) + old * 2],
    wordings={
        "en": (
            "{x} with every {old} replaced by {new}, then with {before} before it and {after} after it",
            "{x}, after changing each {old} to {new}, between {before} and {after}",
        ),
        "zh": (
            "把{x}中的{old}都替换成{new}，再在前面加上{before}、后面加上{after}的字符串",
            "{x}中所有{old}换成{new}后，前面加{before}，后面加{after}的结果",
        ),
    },
    # Else the order of the two steps would matter, which the text does not tell.
    valid=lambda before, after, old, new: old != new and old not in before + after,
)


def _sort_slice_inputs(rng: Random, first: str, order: str, a: int) -> list[list[Row]]:
    return [*sort_inputs(rng, "one", first, None, order), [{first: 5 * i % 17, "rank": i} for i in range(16)]]


SORT_SLICE = Family(
    name="sort+slice",
    argument="rows",
    verbs=("sort", "take", "rank", "list", "get"),
    spaces=[Space(1, {"first": FIELDS, "order": ("up", "down"), "a": range(2, 11)})],
    body=lambda x, first, order, a: f"return {sort_code(x, 'one', first, None, order)}[:{a}]",
    reference=lambda x, first, order, a: [
        row for i, row in enumerate(sort_reference(x, "one", first, None, order)) if i < a
    ],
    inputs=_sort_slice_inputs,
    wordings={
        "en": (
            "the first {a} items after sorting {x} by {first} {ordered}",
            "{x} sorted by {first} {ordered}, but only the first {a} items",
        ),
        "zh": (
            "把{x}按{first}{ordered}排序后的前{a}个元素",
            "列表{x}中的字典按{first}{ordered}排列后的前{a}个",
        ),
    },
    phrases={"ordered": ("order", ORDERS)},
)

COMPOSITIONS = (FILTER_MAP, FILTER_MAP_SUM, FILTER_SLICE, REPLACE_WRAP, SORT_SLICE)
