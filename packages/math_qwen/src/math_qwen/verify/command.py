"""The verb `verify`: one pair, or a file of pairs."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from math_qwen.verify.limits import LONGEST
from qwen_shared.errors import EXIT_FAILED, EXIT_FINISHED, UserError

_GOLD = ("gold", "answer", "target", "reference", "ground_truth")
_PREDICTION = ("prediction", "pred", "response", "completion", "output", "candidate")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("gold", nargs="?", metavar="GOLD", help="the right answer: bare, or a worked solution")
    parser.add_argument(
        "prediction", nargs="?", metavar="PREDICTION", help="the answer to check: bare, or a whole response"
    )
    parser.add_argument(
        "--file", type=Path, metavar="PAIRS.jsonl", help="pairs: one JSON object per line, with gold and prediction"
    )
    parser.add_argument(
        "--to", type=Path, metavar="OUT.jsonl", help="write each line of --file with its outcome and reason"
    )
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for each pair (default: 5)")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")


def main(args: argparse.Namespace) -> int:
    """0 if every pair is right, else 1. Raises UserError."""
    if not 0 < args.timeout <= LONGEST:
        raise UserError(f"--timeout must be positive and at most {LONGEST:,} seconds, not {args.timeout:g}")
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers must be at least 1, not {args.workers}")
    if args.file is None:
        if args.gold is None or args.prediction is None:
            raise UserError("verify needs GOLD and PREDICTION, or --file PAIRS.jsonl")
        if args.to is not None:
            raise UserError("--to goes with --file")
        return _one(args)
    if args.gold is not None:
        raise UserError("verify takes GOLD and PREDICTION, or --file, not both")
    return _many(args)


def _one(args: argparse.Namespace) -> int:
    from math_qwen.verify import verify

    verdict = verify(args.gold, args.prediction, args.timeout)
    print(f"{verdict.outcome}: {verdict.reason}")
    return EXIT_FINISHED if verdict.right else EXIT_FAILED


def _many(args: argparse.Namespace) -> int:
    from math_qwen.verify import verify_many
    from qwen_shared.files import write_atomic

    if args.to is not None:
        _check_target(args.to, args.file)
    rows = read_pairs(args.file)
    pairs = [(gold, prediction) for gold, prediction, _ in rows]
    verdicts = _with_bar(lambda progress: verify_many(pairs, args.workers, args.timeout, progress))
    if args.to is not None:
        graded = [
            row | {"outcome": v.outcome.value, "reason": v.reason}
            for (_, _, row), v in zip(rows, verdicts, strict=True)
        ]
        try:
            write_atomic(args.to, "".join(json.dumps(row) + "\n" for row in graded))
        except OSError as error:
            raise UserError(f"{args.to}: {error.strerror}") from None
    _report(Counter(verdict.outcome.value for verdict in verdicts), rows, [verdict.right for verdict in verdicts])
    return EXIT_FINISHED if all(verdict.right for verdict in verdicts) else EXIT_FAILED


def _check_target(to: Path, read: Path) -> None:
    if to.resolve() == read.resolve():
        raise UserError(f"--to {to} would overwrite the pairs it reads")
    if to.is_dir():
        raise UserError(f"--to {to} is a directory; give a file name such as {to / 'verdicts.jsonl'}")
    if not to.parent.is_dir():
        raise UserError(f"--to {to}: no directory {to.parent}")


def read_pairs(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """(gold, prediction, row) of every line that is not empty. Raises UserError with file and line."""
    rows = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append(_row(line, f"{path}:{number}"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None
    if not rows:
        raise UserError(f"{path} holds no pairs")
    return rows


def _row(line: str, where: str) -> tuple[str, str, dict[str, Any]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: must be a JSON object, not {type(row).__name__}")
    # `answer` is gold beside `prediction`, but the prediction beside `gold`.
    gold = next((key for key in _GOLD if key in row), None)
    prediction = next((key for key in (*_PREDICTION, "answer") if key in row and key != gold), None)
    if gold is None or prediction is None:
        keys = ", ".join(row) or "none"
        raise UserError(
            f"{where}: needs gold ({', '.join(_GOLD)}) and prediction ({', '.join((*_PREDICTION, 'answer'))});"
            f" it has {keys}"
        )
    texts = []
    for key in (gold, prediction):
        value = row[key]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UserError(f"{where}: {key} must be a text or a number, not {type(value).__name__}")
        texts.append(str(value))
    if "expected" in row and not isinstance(row["expected"], bool):
        raise UserError(f"{where}: expected must be true or false")
    return texts[0], texts[1], row


def _with_bar(work):
    """A bar on a terminal."""
    if not sys.stderr.isatty():
        return work(None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total))


def _report(counts: Counter[str], rows: list, right: list[bool]) -> None:
    from rich.console import Console
    from rich.table import Table

    from math_qwen.verify import Outcome

    table = Table("outcome", "pairs", "share")
    for outcome in Outcome:
        table.add_row(outcome.value, f"{counts[outcome.value]:,}", f"{counts[outcome.value] / len(rows):.1%}")
    table.add_row("all", f"{len(rows):,}", "")
    console = Console()
    console.print(table)
    expected = [
        (row["expected"], is_right) for (_, _, row), is_right in zip(rows, right, strict=True) if "expected" in row
    ]
    if expected:
        agree = sum(want == got for want, got in expected)
        false = sum(got and not want for want, got in expected)
        missed = sum(want and not got for want, got in expected)
        console.print(
            f"as expected: {agree} of {len(expected)} ({agree / len(expected):.1%}); {false} wrongly accepted,"
            f" {missed} wrongly rejected"
        )
