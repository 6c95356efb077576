"""`code-qwen prepare`: shows which files of a source the filters keep, which they drop and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.data.check import STDLIB
from qwen_shared.data.documents import Meter
from qwen_shared.errors import EXIT_FINISHED, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from code_qwen.corpus.reading import CodeReader
    from code_qwen.corpus.report import Report


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source", nargs="?", metavar="SOURCE", default=STDLIB,
        help="a directory tree or git checkout, a .jsonl (.gz, .zst) or .parquet file or a directory of them, hf:NAME, "
        "or stdlib, which is the default",
    )  # fmt: skip
    add("--to", metavar="OUT.jsonl", help="write the kept files: text, path, repository, language, licence")
    add("--report", metavar="FILE", help="write the counts and examples as JSON")
    add("--text-key", metavar="COLUMN", help="of a dataset: the column that holds the code")
    add("--subset", help="of a dataset hf:NAME: its configuration")
    add("--split", default="train", help="of a dataset hf:NAME (default: %(default)s)")
    add("--data-dir", metavar="FOLDER", help="of a dataset hf:NAME: the folder in it, such as data/python")
    add("--workers", type=int, help="processes that read and filter (default: one for each CPU)")
    add(
        "filters", nargs="*", metavar="key=value",
        help="filters as in a recipe's data.filters, such as languages=[Python,C] near_duplicate_threshold=0.85",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Raises UserError, before anything is written, for a user's mistake."""
    from rich.console import Console

    from qwen_shared.files import atomic_file, write_atomic

    out, report = (Path(name).expanduser() if name else None for name in (args.to, args.report))
    reader = _reader(args)
    _check(args.workers, reader.source.path, out, report)
    try:
        with _progress() as meter:
            rows = _rows(reader, meter)
            if out is None:
                deque(rows, maxlen=0)
            else:
                with atomic_file(out) as file:
                    for row in rows:
                        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        if report is not None:
            write_atomic(report, json.dumps(reader.report.as_dict(), ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{error.filename or out}: cannot be written: {error.strerror}") from None
    console = Console()
    show(reader.report, console)
    for path in filter(None, (out, report)):
        console.print(f"written: {path}", soft_wrap=True, markup=False)
    return EXIT_FINISHED


def show(report: Report, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    found = report.as_dict()
    title = f"files kept: {report.kept_files:,}; dropped: {report.dropped_files:,}"
    table = Table(title=title, title_justify="left")
    for column, how in (("language", "left"), ("kept", "right"), ("MB", "right"), ("dropped", "right")):
        table.add_column(column, justify=how)  # type: ignore[arg-type]
    languages = found["kept"]["languages"]
    for name, about in languages.items():
        dropped = sum(about["dropped"].values())
        table.add_row(escape(name), f"{about['files']:,}", f"{about['bytes'] / 1e6:.1f}", f"{dropped:,}")
    for name, reasons in sorted(report.dropped_languages.items()):
        if name not in languages:
            table.add_row(escape(name), "0", "0.0", f"{reasons.total():,}")
    console.print(table)
    why = Table(title="why", title_justify="left")
    for column, how in (("dropped", "right"), ("MB", "right"), ("because", "left"), ("for example", "left")):
        why.add_column(column, justify=how, overflow="fold")  # type: ignore[arg-type]
    for reason, about in found["dropped"].items():
        examples = escape("\n".join(about["examples"]))
        why.add_row(f"{about['files']:,}", f"{about['bytes'] / 1e6:.1f}", escape(reason), examples)
    if found["dropped"]:
        console.print(why)
    if secrets := found["secrets_replaced"]:
        console.print("replaced: " + ", ".join(f"{count:,} × {name}" for name, count in secrets.items()))


def _reader(args: argparse.Namespace) -> CodeReader:
    from code_qwen.corpus.reading import CodeReader
    from code_qwen.recipe import CodeData
    from qwen_shared.recipe.load import validate
    from qwen_shared.recipe.yaml_text import parse_yaml

    path, words = args.source, list(args.filters)
    if "=" in path and not Path(path).exists():
        path, words = STDLIB, [path, *words]
    filters: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word}: one source at a time; a filter is key=value, such as languages=[Python,C]")
        filters[key] = parse_yaml(value, word)
    source = {"path": path, "text_key": args.text_key, "config": args.subset, "split": args.split}
    source |= {"data_dir": args.data_dir}
    tree = {"sources": [source], "filters": filters, "seq_length": 1, "validation_fraction": 0.0}
    data = validate(CodeData, tree, "prepare")
    return CodeReader(data, data.sources[0], args.workers)


def _check(workers: int | None, source: str, out: Path | None, report: Path | None) -> None:
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1")
    if out is not None and out.suffix != ".jsonl":
        raise UserError(f"--to {out}: must end in .jsonl")
    if out is not None and report is not None and out.resolve() == report.resolve():
        raise UserError(f"--to and --report are both {out}: give two files")
    read = Path(source).expanduser()
    for path in filter(None, (out, report)):
        if path.is_dir():
            raise UserError(f"{path}: is a directory; give a file name such as {path / 'code.jsonl'}")
        if not path.parent.is_dir():
            raise UserError(f"{path}: there is no directory {path.parent}")
        if read.is_dir() and path.resolve().is_relative_to(read.resolve()):
            raise UserError(f"{path}: lies in {read}, which is read; write it elsewhere")
        if path.resolve() == read.resolve():
            raise UserError(f"{path}: would overwrite what is read; choose another name")


def _rows(reader: CodeReader, meter: Meter) -> Iterator[dict[str, Any]]:
    for filtered in reader.files(meter):
        file = filtered.file
        yield {
            "text": file.text,
            "path": file.path,
            "repository": file.repository,
            "language": file.language,
            "licence": file.licence,
        }


@contextmanager
def _progress() -> Iterator[Meter]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("reading"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TimeRemainingColumn(),
        transient=True,
        expand=True,
        disable=not sys.stdout.isatty(),
    )
    task = bar.add_task("", total=None)
    with bar:
        yield Meter(lambda done, total: bar.update(task, completed=done, total=total))
