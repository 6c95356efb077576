"""Quick checks of data sources, without heavy imports."""

from __future__ import annotations

import difflib
import itertools
import re
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import TrainingData

STDLIB = "stdlib"
HF = "hf:"
_SHARD = re.compile(r"(?P<name>.*?)(?P<number>\d{4,})-of-(?P<total>\d{4,})")


def check_sources(data: TrainingData) -> None:
    """Raises UserError for a source that is missing, empty, unreadable, of an unknown kind, or lacks a shard.

    Does not read contents or contact a hub.
    """
    for key, part in data.parts.items():
        _check_part(part, f"data.{key}")


def _check_part(data: TrainingData, key: str) -> None:
    given = [source.weight is not None for source in data.sources]
    if any(given) and not all(given):
        raise UserError(
            f"{key}.{given.index(False)}.weight is missing: give every source a weight, or none, "
            "which weighs them by their tokens"
        )
    for i, source in enumerate(data.sources):
        where = f"{key}.{i}.path={source.path}"
        if source.path.startswith(HF):
            _check_hf(source.path, where)
        elif data.trees and Path(source.path).expanduser().is_dir():
            _check_listable(Path(source.path).expanduser(), where)
        elif source.path not in data.builtin:
            for path in source_files(data, source.path, where):
                _check_readable(path, where)


def source_files(data: TrainingData, written: str, where: str | None = None) -> list[Path]:
    """The file, or the directory's files, sorted, without hidden and empty ones."""
    where = where or f"data source {written}"
    path = Path(written).expanduser()
    suffixes = data.suffixes
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if _suffix(p, suffixes) and p.is_file() and not _is_hidden(p, path))
        if not found:
            raise UserError(f"{where}: no file in this directory ends in {_one_of(suffixes)}")
        _check_shards(found, where)
        files = [p for p in found if p.stat().st_size]
        if not files:
            raise UserError(f"{where}: all {len(found)} files in this directory are empty")
        return files
    if not path.exists():
        raise UserError(f"{where}: {_missing(path, written, data.builtin)}")
    if not path.is_file():
        raise UserError(f"{where}: neither a file nor a directory")
    if not _suffix(path, suffixes):
        hint = "; one JSON object a line is .jsonl" if path.suffix.lower() == ".json" else ""
        raise UserError(f"{where}: cannot read '{path.suffix or path.name}' files, only {_one_of(suffixes)}{hint}")
    if not path.stat().st_size:
        raise UserError(f"{where}: the file is empty")
    return [path]


def hf_directory(written: str) -> Path | None:
    """The directory that `hf:…` names; None for a dataset on a hub."""
    name = written.removeprefix(HF)
    path = Path(name).expanduser()
    return path if path.exists() or name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 else None


def _check_hf(written: str, where: str) -> None:
    if written == HF:
        raise UserError(f"{where}: a dataset's name or directory must follow 'hf:'")
    directory = hf_directory(written)
    if directory is None:
        return
    if not directory.exists():
        raise UserError(f"{where}: {_missing(directory, written, ())}")
    if not directory.is_dir():
        raise UserError(f"{where}: a file, not a dataset's directory; leave out 'hf:' to read it")
    _check_shards([p for p in directory.rglob("*") if not _is_hidden(p, directory)], where)


def _check_shards(files: list[Path], where: str) -> None:
    """Raises UserError if a file of a series such as `train-00001-of-00003.parquet` is missing."""
    shards: dict[tuple[Path, str, str], set[int]] = {}
    for path in files:
        if match := _SHARD.match(path.name):
            shards.setdefault((path.parent, match["name"], match["total"]), set()).add(int(match["number"]))
    for (parent, name, total), numbers in sorted(shards.items()):
        if len(numbers) < int(total):
            start = 1 if int(total) in numbers else 0  # some series begin with 1
            missing = next(number for number in itertools.count(start) if number not in numbers)
            raise UserError(
                f"{where}: {len(numbers)} of {int(total)} shards are there, not "
                f"{parent / f'{name}{missing:0{len(total)}}-of-{total}'}*; put back what is missing, or name the files"
            )


def _check_listable(tree: Path, where: str) -> None:
    try:
        empty = next(tree.iterdir(), None) is None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror})") from None
    if empty:
        raise UserError(f"{where}: the directory is empty")


def _check_readable(path: Path, where: str) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        named = "" if where.endswith(str(path)) else f" {path}:"
        raise UserError(f"{where}:{named} cannot be read ({error.strerror})") from None


def _missing(path: Path, written: str, builtin: tuple[str, ...]) -> str:
    while not path.parent.is_dir():
        path = path.parent
    names = {p.name: str(p) for p in path.parent.iterdir()}
    if "/" not in written:
        names |= {name: name for name in builtin}
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
    return f"no such file or directory: {path}" + (f"; nearest: {names[near[0]]}" if near else "")


def _suffix(path: Path, suffixes: tuple[str, ...]) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in suffixes if name.endswith(suffix)), None)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _one_of(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]
