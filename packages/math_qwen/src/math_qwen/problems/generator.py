"""Problems from a seed: endless training problems, and held-out sets that share no text with them.

The split depends on no seed. A hash of the normalised text holds out 1 problem in 20. A hash of operation and operands
reserves 1 pair in 10, which no training problem has in any step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from random import Random

from math_qwen.problems.problem import Problem, question_hash
from math_qwen.problems.steps import result, solution
from math_qwen.problems.templates import GOODS, NAMES, OBJECTS, ONE_STEP, TWO_STEP, UNKNOWNS, Template
from qwen_shared.errors import UserError

HELD_OUT = ("level1", "level1_unseen_pairs", "level2", "level3")
MIX = {1: 0.8, 2: 0.15, 3: 0.05}
# Families that come more often in training: calculations are short and exercise the steps; products, quotients and
# equations are harder to learn than sums.
PRACTICE = {"calculation": 3, "groups": 2, "sharing": 2, "equation_sum": 2, "equation_product": 2}

_TEXTS_HELD_OUT = 20  # one in 20
_PAIRS_RESERVED = 10
_TRIES = 1000

# A small model confuses 11 and 1 for long: this share of the level 1 training problems has one of the two.
_COPYING_SHARE = 0.2

Operation = tuple[str, int, int]


def training(
    seed: int, count: int, mix: Mapping[int, float] | None = None, languages: tuple[str, ...] = ("en", "zh")
) -> Iterator[Problem]:
    """`count` training problems with distinct texts, without held-out texts or reserved pairs, the same everywhere.

    `mix`: the share of each level (default MIX). Languages are equally frequent, families as in PRACTICE. A longer
    sequence starts with the shorter one of the same seed.
    """
    levels, weights = zip(*sorted((mix or MIX).items()), strict=True)
    seen: set[int] = set()
    for index in range(count):
        rng = Random(f"training {seed} {index}")
        level = rng.choices(levels, weights)[0]
        yield _draw(rng, level, languages, seen, held_out_text=False, reserved_pair=False)


def held_out(name: str, count: int = 400, seed: int = 0, languages: tuple[str, ...] = ("en", "zh")) -> list[Problem]:
    """A held-out set; no training sequence has a text of it, and families are equally frequent.

    `level1`: operands ≤ 20 (products ≤ 100), one step, pairs that training has too. `level1_unseen_pairs`: pairs that
    no training problem has, in either order for sums and products. `level2`: two-digit operands, one step. `level3`:
    two steps. Raises UserError for another name.
    """
    if name not in HELD_OUT:
        raise UserError(f"held-out set '{name}': must be one of {', '.join(HELD_OUT)}")
    unseen = name == "level1_unseen_pairs"
    seen: set[int] = set()
    problems = []
    for index in range(count):
        rng = Random(f"{name} {seed} {index}")
        problems.append(_draw(rng, int(name[5]), languages, seen, held_out_text=True, reserved_pair=unseen))
    return problems


def is_reserved(sign: str, a: int, b: int) -> bool:
    """Whether training lacks this operation on these operands."""
    if sign in "+*":
        a, b = sorted((a, b))
    return hashlib.sha256(f"{sign} {a} {b}".encode()).digest()[0] * _PAIRS_RESERVED < 256


def is_held_out(question: str) -> bool:
    """Whether training lacks this text."""
    return question_hash(question) % _TEXTS_HELD_OUT == 0


def _draw(
    rng: Random, level: int, languages: tuple[str, ...], seen: set[int], held_out_text: bool, reserved_pair: bool
) -> Problem:
    copying = level == 1 and not held_out_text and rng.random() < _COPYING_SHARE
    for _ in range(_TRIES):
        templates = _by_family(level, rng.choice(languages), not held_out_text)
        template = rng.choice(templates[rng.randrange(len(templates))])
        drawn = _numbers(rng, template, level, reserved_pair)
        if drawn is None:
            continue
        operations, numbers = drawn
        if copying and not {1, 11} & set(operations[0][1:]):
            continue
        if template.language == "en" and "{A}" in template.text and 1 in numbers.values():
            continue  # no "1 apples"
        question = _text(rng, template, numbers)
        key = question_hash(question)
        if key in seen or (key % _TEXTS_HELD_OUT == 0) != held_out_text:
            continue
        seen.add(key)
        answer = str(result(*operations[-1]))
        return Problem(
            f"{key:016x}", template.family, level, template.language, operations, question, solution(operations), answer
        )
    raise UserError(f"level {level}: no further problem with a new text; ask for fewer")


@cache
def _by_family(level: int, language: str, practice: bool) -> list[list[Template]]:
    families: dict[str, list[Template]] = {}
    for template in ONE_STEP if level < 3 else TWO_STEP:
        if template.language == language:
            families.setdefault(template.family, []).append(template)
    return [templates for name, templates in families.items() for _ in range(PRACTICE.get(name, 1) if practice else 1)]


@cache
def _pairs(sign: str, level: int, reserved: bool) -> list[tuple[int, int]]:
    """Level 3 begins with a pair of level 1."""
    small, two_digits, digits = range(1, 21), range(10, 100), range(2, 10)
    if level != 2:
        pairs = {
            "+": [(a, b) for a in small for b in small],
            "-": [(a, b) for a in small for b in small if a > b],
            "*": [p for a in small for b in digits if a > 1 and a * b <= 100 for p in {(a, b), (b, a)}],
            "/": [(a, b) for a in small for b in small if b > 1 and a % b == 0],
        }[sign]
    else:
        pairs = {
            "+": [(a, b) for a in two_digits for b in two_digits if max(a, b) > 20],
            "-": [(a, b) for a in two_digits for b in two_digits if a > b and a > 20],
            "*": [p for a in two_digits for b in digits if a > 20 for p in {(a, b), (b, a)}],
            "/": [(a, b) for a in two_digits for b in digits if a > 20 and a % b == 0],
        }[sign]
    return sorted({p for p in pairs if is_reserved(sign, *p) == reserved})


def _numbers(
    rng: Random, template: Template, level: int, reserved: bool
) -> tuple[tuple[Operation, ...], dict[str, int]] | None:
    sign = template.signs[0]
    a, b = rng.choice(_pairs(sign, level, reserved))
    if level < 3:
        return ((sign, a, b),), {"a": a, "b": b}
    first = result(sign, a, b)
    second = template.signs[1]
    if second == "r-":
        c = rng.choice([n for n in (10, 20, 30, 40, 50, 60, 80, 90) if n > first] or [0])
        operation = ("-", c, first)
    elif second == "/":
        c = rng.choice([n for n in range(2, 11) if first % n == 0] or [0])
        operation = ("/", first, c)
    else:
        c = rng.randint(1, 20)
        operation = (second, first, c)
    if not c or (operation[0] == "-" and operation[1] <= operation[2]) or is_reserved(*operation):
        return None
    return ((sign, a, b), operation), {"a": a, "b": b, "c": c}


def _text(rng: Random, template: Template, numbers: dict[str, int]) -> str:
    first, second = rng.sample(NAMES[template.language], 2)
    noun, measure = rng.choice(list(OBJECTS[template.language].items()))
    good, other = rng.sample(GOODS[template.language], 2)
    return template.text.format(
        A=first, B=second, o=noun, m=measure, t=good, u=other, x=rng.choice(UNKNOWNS), **numbers
    )
