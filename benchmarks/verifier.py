"""Pairs a second of the verifier and of math-verify, on the same pairs, in turn, with the same number of processes.

    uv run benchmarks/verifier.py
    uv run benchmarks/verifier.py PAIRS.jsonl

Without a file the pairs are drawn here: integers, decimals, fractions, money and whole solutions, as models write
them, half of them wrong, and one in ten an expression. math-verify is used as its documentation says: `parse` with its
default extractors, then `verify`, in a pool of processes that are started before the clock; its time limits, which are
alarms, stay on. The verifier's own workers are started before the clock too.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import sys
import time
from pathlib import Path
from typing import Any

from report import cpu_name, machine, median, save
from rich.console import Console
from rich.table import Table

Pair = tuple[str, str]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="pairs with gold and prediction, JSONL (default: drawn)")
    parser.add_argument("--pairs", type=int, default=2000, help="how many to draw (default: 2000)")
    parser.add_argument("--workers", type=int, default=2, help="processes on each side (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side goes over the pairs (default: 3)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: results/DATE-MACHINE-verifier.json)")
    args = parser.parse_args(argv)

    if args.file:
        from math_qwen.verify.command import read_pairs
        from qwen_shared.errors import UserError

        try:
            pairs = [(gold, prediction) for gold, prediction, _ in read_pairs(args.file)]
        except UserError as error:
            print(f"verifier: error: {error}", file=sys.stderr)
            return 2
    else:
        pairs = ordinary_pairs(args.pairs)

    from math_qwen.verify import verify_many
    from math_qwen.verify.parsing.parser import parse

    with multiprocessing.get_context("spawn").Pool(args.workers, initializer=_quiet) as pool:
        list(pool.imap(_math_verify, pairs[: 8 * args.workers], chunksize=4))  # started and warm
        verify_many([(r"\sin 1 + \ln 2", r"\sqrt[3]{5}")] * 4 * args.workers, args.workers)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(args.rounds):
            parse.cache_clear()  # no round gains from the one before
            began = time.perf_counter()
            mine = [verdict.right for verdict in verify_many(pairs, args.workers)]
            ours.append(len(pairs) / (time.perf_counter() - began))
            began = time.perf_counter()
            yours = list(pool.imap(_math_verify, pairs, chunksize=16))
            theirs.append(len(pairs) / (time.perf_counter() - began))

    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    figures: dict[str, Any] = {
        "machine": machine(),
        "pairs": len(pairs),
        "drawn": args.file is None,
        "workers": args.workers,
        "pairs_per_second": {"verifier": ours, "math_verify": theirs},
        "median": {"verifier": median(ours), "math_verify": median(theirs), "ratio": median(ratios)},
        "agree": sum(a == b for a, b in zip(mine, yours, strict=True)),
    }
    path = save(figures, "verifier", cpu_name(), args.out)
    table = Table("", "pairs/s, median", "rounds", title=f"{len(pairs):,} pairs on {args.workers} processes")
    for name, found in (("verifier", ours), ("math-verify", theirs)):
        table.add_row(name, f"{median(found):,.0f}", ", ".join(f"{value:,.0f}" for value in found))
    console = Console(width=120)
    console.print(table)
    console.print(f"{median(ratios):.1f} times as fast; the same judgement on {figures['agree']} of {len(pairs)}")
    print(path)
    return 0


def ordinary_pairs(count: int) -> list[Pair]:
    """The mix of answers that training and evaluation see, always the same."""
    draw = random.Random(0)
    kinds = (_integer, _integer, _decimal, _fraction, _money, _gsm8k, _gsm8k, _boxed, _boxed, _expression)
    return [kinds[k % len(kinds)](draw) for k in range(count)]


def _near(draw: random.Random, value: int) -> int:
    return value if draw.random() < 0.5 else value + draw.choice((-10, -1, 1, 2, 100))


def _integer(draw: random.Random) -> Pair:
    value = draw.randint(-999, 99_999)
    return str(value), draw.choice(("{}", "{:,}", "${}$", "{}.0", "The answer is {}.")).format(_near(draw, value))


def _decimal(draw: random.Random) -> Pair:
    value = draw.randint(1, 9999)
    return str(value / 100), draw.choice(("{}", "${}$", "It is {}")).format(_near(draw, value) / 100)


def _fraction(draw: random.Random) -> Pair:
    above, below = draw.randint(1, 50), draw.randint(2, 50)
    other = _near(draw, above)
    form = draw.choice(("{}/{}", "\\frac{{{}}}{{{}}}", "$\\dfrac{{{}}}{{{}}}$"))
    return f"\\frac{{{above}}}{{{below}}}", form.format(other, below)


def _money(draw: random.Random) -> Pair:
    value = draw.randint(1, 5000)
    return str(value), draw.choice(("\\${:,}", "${}", "{} dollars", "\\${}.00")).format(_near(draw, value))


def _gsm8k(draw: random.Random) -> Pair:
    a, b = draw.randint(2, 60), draw.randint(2, 60)
    said = _near(draw, a * b)
    return str(
        a * b
    ), f"Each of the {a} boxes holds {b} pens.\nSo there are {a} * {b} = {said} pens in all.\n#### {said}"


def _boxed(draw: random.Random) -> Pair:
    a, b = draw.randint(2, 40), draw.randint(2, 40)
    gold, answer = draw.choice(
        (
            (f"{a * b}", f"{_near(draw, a * b)}"),
            (f"\\frac{{{a}}}{{{a + b}}}", f"\\frac{{{_near(draw, a)}}}{{{a + b}}}"),
            (f"{a}\\sqrt{{{b}}}", f"{_near(draw, a)}\\sqrt{{{b}}}"),
            (f"({a}, {-b})", f"\\left({_near(draw, a)}, -{b}\\right)"),
        )
    )
    return gold, f"Since $x^2 - {a}x + {b} = 0$, we find that the value we want is $\\boxed{{{answer}}}$."


def _expression(draw: random.Random) -> Pair:
    a, b = draw.randint(1, 9), draw.randint(1, 9)
    c = _near(draw, b)
    return draw.choice(
        (
            (f"(x+{a})(x+{b})", f"x^2+{a + c}x+{a * c}"),
            (f"\\frac{{x+{a}}}{{{b + 1}}}", f"\\frac{{x}}{{{b + 1}}}+\\frac{{{a}}}{{{c + 1 if c != -1 else 7}}}"),
            (f"y={a}x+{b}", f"y = {c} + {a}x"),
            (f"\\frac{{\\pi}}{{{b}}}", f"\\frac{{{a}\\pi}}{{{a * c or 3}}}"),
        )
    )


def _math_verify(pair: Pair) -> bool:
    from math_verify import parse, verify

    gold, prediction = pair
    # Its default extractors want a bare gold answer in dollars.
    gold = gold if "$" in gold or "\\boxed" in gold or "####" in gold else f"${gold}$"
    return bool(verify(parse(gold), parse(prediction)))


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
