"""Families of functions of a dict, or of a list of dicts."""

from __future__ import annotations

from random import Random

from code_qwen.problems.family import Family, Space, literal
from code_qwen.problems.vocabulary import FIELDS, STRINGS

Row = dict[str, int]

_DEFAULTS = (*range(-1, 16), *STRINGS[:8])


def _get_inputs(rng: Random, name: str, default: int | str) -> list[dict[str, object]]:
    other = rng.choice([field for field in FIELDS if field != name])
    return [{}, {name: 7}, {name: "seven"}, {name: 0}, {name: ""}, {other: 3}, {other: 4, name: 5}, {name.upper(): 6}]


GET_FIELD = Family(
    name="get_field",
    argument="record",
    verbs=("get", "read", "load", "find", "fetch", "look_up"),
    spaces=[Space(1, {"name": FIELDS, "default": _DEFAULTS})],
    body=lambda x, name, default: f"return {x}.get({literal(name)}, {literal(default)})",
    reference=lambda x, name, default: {name: default, **x}[name],
    inputs=_get_inputs,
    wordings={
        "en": (
            "the value of {name} in the dict {x}, or {default} if it is missing",
            "the {name} value of {x}, or {default} if there is none",
            "{x}[{name}], or {default} if there is no such key",
        ),
        "zh": (
            "字典{x}中{name}的值，没有则为{default}",
            "{x}[{name}]，如果没有这个键就返回{default}",
            "{x}里键{name}的值，不存在时为{default}",
        ),
    },
)

ORDERS = {
    "en": {
        "up": ("in ascending order", "from smallest to largest"),
        "down": ("in descending order", "from largest to smallest"),
    },
    "zh": {"up": ("从小到大", "升序"), "down": ("从大到小", "降序")},
}


_BY = {
    "en": {"one": ("{first}",), "two": ("{first} and then {second}", "{first}, then {second}")},
    "zh": {"one": ("{first}",), "two": ("{first}、再按{second}", "先{first}后{second}")},
}


def sort_code(x: str, kind: str, first: str, second: str | None, order: str) -> str:
    fields = f'row["{first}"]' if kind == "one" else f'(row["{first}"], row["{second}"])'
    return f"sorted({x}, key=lambda row: {fields}{', reverse=True' if order == 'down' else ''})"


def sort_reference(x: list[Row], kind: str, first: str, second: str | None, order: str) -> list[Row]:
    def key(row: Row) -> list[int]:
        return [row[name] if order == "up" else -row[name] for name in (first, second) if name is not None]

    ordered: list[Row] = []
    for row in x:  # insert before the first row that must come later
        later = (i for i, other in enumerate(ordered) if key(other) > key(row))
        ordered.insert(next(later, len(ordered)), row)
    return ordered


def rows_of(rng: Random, fields: tuple[str, ...], length: int) -> list[Row]:
    """The first field has few values, so that the second field and the input order matter."""
    return [{name: rng.randint(1, 3 if i == 0 else 9) for i, name in enumerate(fields)} for _ in range(length)]


def sort_inputs(rng: Random, kind: str, first: str, second: str | None, order: str) -> list[list[Row]]:
    fields = (first, second or next(name for name in FIELDS if name != first), "rank")
    return [[], *(rows_of(rng, fields, length) for length in (1, 4, 6, 6, 6))]


SORT = Family(
    name="sort",
    argument="rows",
    verbs=("sort", "order", "arrange", "list", "rank", "get"),
    spaces=[
        Space(1, {"kind": ("one",), "first": FIELDS, "second": (None,), "order": ("up", "down")}),
        Space(1, {"kind": ("two",), "first": FIELDS, "second": FIELDS, "order": ("up", "down")}),
    ],
    body=lambda *slots: f"return {sort_code(*slots)}",
    reference=sort_reference,
    inputs=sort_inputs,
    wordings={
        "en": ("{x} sorted by {by} {ordered}", "the dicts in {x} ordered by {by}, {ordered}"),
        "zh": ("把{x}按{by}{ordered}排序的结果", "列表{x}中的字典按{by}{ordered}排列后的列表"),
    },
    phrases={"by": ("kind", _BY), "ordered": ("order", ORDERS)},
    valid=lambda kind, first, second, order: first != second,
)

FAMILIES = (GET_FIELD, SORT)
