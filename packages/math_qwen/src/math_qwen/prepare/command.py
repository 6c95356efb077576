"""The command `math-qwen prepare`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import EXIT_FINISHED, UserError

if TYPE_CHECKING:
    from math_qwen.decontaminate import EvaluationNgrams
    from math_qwen.prepare.forms import Sample
    from math_qwen.prepare.pipeline import Prepared

EXAMPLES = 3  # of each reason, on the console


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source", nargs="*", metavar="SOURCE",
        help=".jsonl (.gz, .zst), .json or .parquet file, a directory of them, or hf:NAME; "
        "default: the embedded generator's problems",
    )  # fmt: skip
    add("--to", metavar="OUT.jsonl", default="prepared.jsonl", help="the samples to train on (default: %(default)s)")
    add("--report", metavar="FILE", help="counts, and the reason for every changed sample (default: OUT.report.json)")
    add("--form", choices=("auto", "gsm8k", "math", "messages"), default="auto", help="default: by each row's columns")
    add(
        "--against",
        metavar="EVAL_FILE",
        nargs="+",
        default=[],
        help="drop samples that share a 13-gram with these",
    )
    add("--split", default="train", help="of a data set hf:NAME (default: %(default)s)")
    add("--subset", help="configuration of a data set hf:NAME")
    add("--max-characters", type=int, default=4000, help="of question and solution together (default: %(default)s)")
    add("--workers", type=int, help="processes that verify answers (default: one per CPU)")
    add("--count", type=int, default=10_000, help="problems of the embedded generator (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the embedded generator (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Raises UserError for the user's mistakes; nothing is written then."""
    out = Path(args.to).expanduser()
    report = Path(args.report).expanduser() if args.report else out.with_suffix(".report.json")
    _check(args, out, report)

    from math_qwen.prepare.pipeline import prepare

    against = _evaluation(args) if args.against else None
    with _progress(args) as (show, samples):
        prepared = prepare(samples, against, args.max_characters, args.workers or os.cpu_count(), show)
    if not prepared.samples:
        raise UserError(f"{' '.join(args.source)}: no samples found")
    rows = prepared.rows()
    about = {"sources": args.source or ["embedded"], "against": args.against, **prepared.report()}
    try:
        _write(report, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
        if not rows:
            raise UserError(f"none of the {len(prepared.samples):,} samples can be kept; {report} says why")
        _write(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except OSError as error:
        raise UserError(f"{error.filename or out}: cannot be written: {error.strerror}") from None
    _show(prepared, out, report)
    return EXIT_FINISHED


def _check(args: argparse.Namespace, out: Path, report: Path) -> None:
    from math_qwen.prepare.forms import source_files

    for name, value in (("count", args.count), ("max-characters", args.max_characters), ("workers", args.workers)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    read = [
        path.resolve() for s in [*args.source, *args.against] if not s.startswith("hf:") for path in source_files(s)
    ]
    if out.suffix != ".jsonl":
        raise UserError(f"--to {out}: must end in .jsonl")
    if out.resolve() == report.resolve():
        raise UserError(f"--to and --report are both {out}: give two files")
    for path in (out, report):
        if path.is_dir():
            raise UserError(f"{path}: is a directory; give --to a file name such as {path / 'prepared.jsonl'}")
        if not path.parent.is_dir():
            raise UserError(f"{path}: no directory {path.parent}")
        if path.resolve() in read:
            raise UserError(f"{path}: would overwrite a file it reads; choose another --to")


def _samples(args: argparse.Namespace, at: Any) -> Iterator[Sample]:
    from math_qwen.prepare.forms import EMBEDDED, read_samples, sample_of

    if args.source:
        for number, source in enumerate(args.source):
            for sample, share in read_samples(source, args.form, args.split, args.subset):
                at((number + share) / len(args.source))
                yield sample
        return
    from math_qwen.problems import training

    for number, p in enumerate(training(args.seed, args.count), start=1):
        row: dict[str, Any] = {"question": p.question, "answer": p.solution, "gold": p.answer, "id": p.id}
        row |= {"family": p.family, "level": p.level, "language": p.language}
        at(number / args.count)
        yield sample_of(row, f"{EMBEDDED} problem {number}", EMBEDDED, p.id, "gsm8k")


def _evaluation(args: argparse.Namespace) -> EvaluationNgrams:
    from math_qwen.decontaminate import EvaluationNgrams
    from math_qwen.prepare.forms import read_samples

    evaluation = EvaluationNgrams()
    for source in args.against:
        for sample, _ in read_samples(source, "auto", "test", args.subset):
            evaluation.add(sample.where, sample.question)
    if not len(evaluation):
        raise UserError(f"--against {' '.join(args.against)}: no problems found")
    return evaluation


@contextmanager
def _progress(args: argparse.Namespace) -> Iterator[tuple[Any, Iterator[Sample]]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("examining"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[count]:,} samples"),
        TimeRemainingColumn(),
        transient=True,
        expand=True,
        disable=not sys.stdout.isatty(),
    )
    task = bar.add_task("", total=1.0, count=0)
    with bar:
        yield (
            lambda number: bar.update(task, count=number),
            _samples(args, lambda share: bar.update(task, completed=share)),
        )


def _write(path: Path, text: str) -> None:
    from qwen_shared.files import write_atomic

    write_atomic(path, text)


def _show(prepared: Prepared, out: Path, report: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from math_qwen.prepare.pipeline import kind

    examples: dict[tuple[str, str], list[str]] = {}
    for sample, checked in prepared.samples:
        for reason in checked.reasons:
            shown = examples.setdefault((checked.status, kind(reason)), [])
            if len(shown) < EXAMPLES:
                shown.append(f"{sample.id}: {reason.partition(': ')[2] or reason}"[:160])
    table = Table(title=f"{len(prepared.samples):,} samples", title_justify="left")
    for column, how in (("", "left"), ("samples", "right"), ("why", "left"), ("for example", "left")):
        table.add_column(column, justify=how)  # type: ignore[arg-type]
    for status, count in prepared.counts().items():
        table.add_row(f"[bold]{status}[/]", f"{count:,}", "", "", end_section=status == "kept")
        for why, number in prepared.reasons().get(status, {}).items():
            table.add_row("", f"{number:,}", escape(why), escape("\n".join(examples[status, why])))
    console = Console()
    console.print(table)
    if prepared.matches:
        overlaps = Table(title="13-grams shared with evaluation problems", title_justify="left")
        for column in ("training", "evaluation", "shared words"):
            overlaps.add_column(column)
        for match in prepared.matches[:10]:
            overlaps.add_row(*(escape(text) for text in (match.training_id, match.evaluation_id, match.ngram)))
        console.print(overlaps)
    counts = prepared.counts()
    console.print(f"{counts['kept'] + counts['repaired']:,} samples in {out}; every reason in {report}", soft_wrap=True)
