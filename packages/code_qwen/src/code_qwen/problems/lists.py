"""Families of functions of a list."""

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
from code_qwen.problems.family import Family, Space

_NUMBERS = range(2, 41)
_NONE = (None,)

FILTER = Family(
    name="filter",
    argument="numbers",
    verbs=("filter", "keep", "select", "pick", "find", "get", "choose"),
    spaces=[
        Space(9, {"op": (*COMPARISONS, "!=", "%"), "v": _NUMBERS}),
        Space(1, {"op": PARITIES, "v": _NONE}),
    ],
    body=lambda x, op, v: f"return [n for n in {x} if {condition_code('n', op, v)}]",
    reference=lambda x, op, v: list(filter(lambda n: holds(n, op, v), x)),
    inputs=lists_near,
    wordings={
        "en": (
            "the numbers in {x} that are {cond}",
            "a list of the numbers in {x} that are {cond}",
            "all elements of {x} that are {cond}",
        ),
        "zh": ("{x}中{cond}的数", "{x}里所有{cond}的元素", "由{x}中{cond}的数组成的列表"),
    },
    phrases={"cond": ("op", CONDITIONS)},
)

COUNT = Family(
    name="count",
    argument="numbers",
    verbs=("count", "tally", "number_of", "measure", "get", "check"),
    spaces=[
        Space(9, {"op": (*COMPARISONS, "==", "!=", "%"), "v": _NUMBERS}),
        Space(1, {"op": PARITIES, "v": _NONE}),
    ],
    body=lambda x, op, v: f"return sum(1 for n in {x} if {condition_code('n', op, v)})",
    reference=lambda x, op, v: len([n for n in x if holds(n, op, v)]),
    inputs=lists_near,
    wordings={
        "en": (
            "how many numbers in {x} are {cond}",
            "the count of numbers in {x} that are {cond}",
            "the number of elements of {x} that are {cond}",
        ),
        "zh": ("{x}中{cond}的数的个数", "{x}里有多少个{cond}的数", "{x}中{cond}的元素个数"),
    },
    phrases={"cond": ("op", CONDITIONS)},
)


def _aggregate_body(x: str, kind: str, op: str, v: int | None) -> str:
    chosen = f"n for n in {x} if {condition_code('n', op, v)}"
    return f"return sum({chosen})" if kind == "sum" else f"return {kind}(({chosen}), default=0)"


def _aggregate_reference(x: list[int], kind: str, op: str, v: int | None) -> int:
    chosen = sorted(n for n in x if holds(n, op, v))
    if not chosen:
        return 0
    return {"sum": sum(chosen), "max": chosen[-1], "min": chosen[0]}[kind]


_AGGREGATES = ("sum", "max", "min")

AGGREGATE = Family(
    name="aggregate",
    argument="numbers",
    verbs=("total", "get", "find", "compute", "combine", "reduce"),
    spaces=[
        Space(9, {"kind": _AGGREGATES, "op": (*COMPARISONS, "%"), "v": _NUMBERS}),
        Space(1, {"kind": _AGGREGATES, "op": PARITIES, "v": _NONE}),
    ],
    body=_aggregate_body,
    reference=_aggregate_reference,
    inputs=lambda rng, kind, op, v: lists_near(rng, op, v),
    wordings={
        "en": {
            "sum": (
                "the sum of the numbers in {x} that are {cond}",
                "the total of all elements of {x} that are {cond}",
            ),
            "max": (
                "the largest number in {x} that is {cond}, or 0 if there is none",
                "the maximum of the numbers in {x} that are {cond}, or 0 if none",
            ),
            "min": (
                "the smallest number in {x} that is {cond}, or 0 if there is none",
                "the minimum of the numbers in {x} that are {cond}, or 0 if none",
            ),
        },
        "zh": {
            "sum": ("{x}中{cond}的数的和", "{x}里所有{cond}的元素之和"),
            "max": ("{x}中{cond}的数里最大的一个，没有则为0", "{x}里{cond}的数的最大值，没有时为0"),
            "min": ("{x}中{cond}的数里最小的一个，没有则为0", "{x}里{cond}的数的最小值，没有时为0"),
        },
    },
    phrases={"cond": ("op", CONDITIONS)},
)

MAP = Family(
    name="map",
    argument="numbers",
    verbs=("map", "change", "convert", "update", "apply", "transform", "scale"),
    spaces=[
        Space(9, {"op": ("+", "-", "*", "//", "%"), "k": _NUMBERS}),
        Space(1, {"op": ("**",), "k": range(2, 10)}),
    ],
    body=lambda x, op, k: f"return [n {op} {k} for n in {x}]",
    reference=lambda x, op, k: [operation(n, op, k) for n in x],
    inputs=lambda rng, op, k: [[0, 1, 2, 3], [k - 1, k, k + 1, 2 * k], [-1, -k], [10 * k + 3], []],
    wordings={
        "en": (
            "a list with each number in {x} {done}",
            "every element of {x} {done}, as a list",
            "the numbers in {x}, each {done}",
        ),
        "zh": ("把{x}中每个数{done}得到的列表", "{x}里每个元素{done}后的列表", "把{x}的每一项{done}后的列表"),
    },
    phrases={"done": ("op", OPERATIONS)},
)

_SLICES = {"first": ":{a}", "last": "-{a}:", "skip": "{a}:", "drop": ":-{a}", "every": "::{a}"}
_SLICES |= {"part": "{a}:{b}", "step": "{a}::{b}"}


def _slice_reference(x: list[int], kind: str, a: int, b: int | None) -> list[int]:
    def kept(i: int) -> bool:
        return {
            "first": i < a,
            "last": i >= len(x) - a,
            "skip": i >= a,
            "drop": i < len(x) - a,
            "every": i % a == 0,
            "part": i >= a and i < (b or 0),
            "step": i >= a and (i - a) % (b or 1) == 0,
        }[kind]

    return [item for i, item in enumerate(x) if kept(i)]


def _slice_inputs(rng: Random, kind: str, a: int, b: int | None) -> list[list[int]]:
    lengths = (0, 1, a - 1, a, a + 1, a + 2 * (b or a) + 3)
    return [[3 * i + length % 3 for i in range(length)] for length in lengths]


SLICE = Family(
    name="slice",
    argument="numbers",
    verbs=("take", "get", "slice", "pick", "cut", "read", "extract"),
    spaces=[
        Space(2, {"kind": ("first", "last", "skip", "drop", "every"), "a": range(2, 13), "b": _NONE}),
        Space(1, {"kind": ("part", "step"), "a": range(1, 13), "b": range(2, 13)}),
    ],
    body=lambda x, kind, a, b: f"return {x}[{_SLICES[kind].format(a=a, b=b)}]",
    reference=_slice_reference,
    inputs=_slice_inputs,
    wordings={
        "en": {
            "first": ("the first {a} items of {x}", "the first {a} elements in {x}"),
            "last": ("the last {a} items of {x}", "the last {a} elements in {x}"),
            "skip": ("{x} without the first {a} items", "all elements of {x} except the first {a}"),
            "drop": ("{x} without the last {a} items", "all elements of {x} except the last {a}"),
            "every": (
                "every {a_th} item of {x}, from the first on",
                "one of every {a} items of {x}, beginning with the first",
            ),
            "part": (
                "the items of {x} from index {a} up to but not including {b}",
                "{x} from index {a} to just before {b}",
            ),
            "step": ("every {b_th} item of {x}, from index {a} on", "one of every {b} items of {x}, from index {a} on"),
        },
        "zh": {
            "first": ("{x}的前{a}个元素", "{x}中开头的{a}项"),
            "last": ("{x}的最后{a}个元素", "{x}中末尾的{a}项"),
            "skip": ("{x}去掉前{a}个元素后的列表", "{x}中除前{a}项以外的元素"),
            "drop": ("{x}去掉最后{a}个元素后的列表", "{x}中除末尾{a}项以外的元素"),
            "every": ("{x}中从第一个起每{a}个取一个的列表", "{x}从头开始、步长为{a}的切片"),
            "part": ("{x}中下标从{a}到{b}（不含）的元素", "{x}从下标{a}开始到{b}之前的部分"),
            "step": ("{x}中从下标{a}起每{b}个取一个的列表", "{x}从下标{a}开始、步长为{b}的切片"),
        },
    },
    valid=lambda kind, a, b: kind != "part" or a < b,
)

FAMILIES = (FILTER, COUNT, AGGREGATE, MAP, SLICE)
