"""Sources of code as files. They set `held_out` if the text's hash alone does not decide the split."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from code_qwen.corpus.file import CodeFile, Dropped
from code_qwen.corpus.rows import read_code_rows
from code_qwen.corpus.tree import Listing, list_tree
from qwen_shared.data.check import HF, STDLIB
from qwen_shared.data.documents import FileIdentity, Meter
from qwen_shared.data.rows import files_identity
from qwen_shared.data.split import held_out_names
from qwen_shared.data.stdlib import held_out_modules, stdlib_identities, stdlib_modules
from qwen_shared.errors import UserError

if TYPE_CHECKING:
    from code_qwen.corpus.settings import CodeSource
    from code_qwen.recipe import CodeData

DATA_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
_KNOWN_BYTES = 32 << 20

Drop = Callable[[Dropped], None]
ByName = Callable[[CodeFile], Dropped | None]


class StandardLibrary:
    """Python's standard library without tests and site-packages. Holds out the same modules as the text corpus `stdlib`
    at the same `validation_fraction`.
    """

    splits_by_text = True  # text near a held-out module leaves training

    def __init__(self, data: CodeData):
        self.data = data
        self.root = sysconfig.get_path("stdlib")

    def identity(self) -> list[FileIdentity]:
        return stdlib_identities()

    def files(self, by_name: ByName, drop: Drop, meter: Meter) -> Iterator[CodeFile]:
        data = self.data
        held_out = held_out_modules(data.validation_fraction, data.validation_max_bytes, data.documents)
        modules = [
            CodeFile(
                path=name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py"),
                repository="python",
                language="Python",
                licence="PSF-2.0",
                where=str(path),
                size=path.stat().st_size,
                held_out=name in held_out,
            )
            for name, path in stdlib_modules()[: data.documents]
        ]
        meter.total = sum(file.size for file in modules)
        yield from _held_out_first(_filtered(modules, by_name, drop))


class Tree:
    """A directory tree or git checkout. Holds out whole repositories, or files if there is one repository or none is
    small enough, by a hash of the name, within `validation_fraction` and `validation_max_bytes`.
    """

    splits_by_text = False

    def __init__(self, data: CodeData, listing: Listing):
        self.data = data
        self.root = str(listing.root)
        self._listing = listing
        self._is_new = True

    def identity(self) -> list[FileIdentity]:
        if not self._is_new:
            self._listing = list_tree(Path(self.root), DATA_SUFFIXES)
        self._is_new = False
        return self._listing.identities

    def files(self, by_name: ByName, drop: Drop, meter: Meter) -> Iterator[CodeFile]:
        for dropped in self._listing.dropped:
            drop(dropped)
        data = self.data
        files = _filtered(self._listing.files, by_name, drop)[: data.documents]
        meter.total = sum(file.size for file in files)
        yield from _held_out_first(_split(files, data.validation_fraction, data.validation_max_bytes))


class Rows:
    """A dataset. Up to `_KNOWN_BYTES` it is split like a tree; beyond, by a hash of the repository's name, or of the
    file's name if repositories are few. Rows without a repository are split by the hash of their text.
    """

    splits_by_text = False

    def __init__(self, data: CodeData, source: CodeSource):
        self.data = data
        self.source = source
        self.root = ""

    def identity(self) -> list[FileIdentity]:
        return files_identity(self.data, self.source.path)

    def files(self, by_name: ByName, drop: Drop, meter: Meter) -> Iterator[CodeFile]:
        share, max_bytes = self.data.validation_fraction, self.data.validation_max_bytes
        files = islice(self._passed(by_name, drop, meter), self.data.documents)
        first: list[CodeFile] = []
        known = 0
        for file in files:
            first.append(file)
            known += file.size
            if known > _KNOWN_BYTES:
                break
        else:
            yield from _split(first, share, max_bytes)
            return
        # Hold out repositories if there are enough, else files.
        whole = share * len({file.repository for file in first}) >= 1
        held_out: set[str] = set()
        held_bytes = 0
        for file in chain(first, files):
            if file.repository:
                name = file.repository if whole else _name(file)
                if held_bytes < max_bytes and _hash64(name) < share * 2**64:
                    held_out.add(name)
                held_bytes += file.size if name in held_out else 0
                file = replace(file, held_out=name in held_out)
            yield file

    def _passed(self, by_name: ByName, drop: Drop, meter: Meter) -> Iterator[CodeFile]:
        for file in read_code_rows(self.data, self.source, meter):
            if dropped := by_name(file):
                drop(dropped)
            else:
                yield file


def open_source(data: CodeData, source: CodeSource) -> StandardLibrary | Tree | Rows:
    """A directory without code but with files of rows is a dataset. Raises UserError if it cannot be read."""
    if source.path == STDLIB:
        return StandardLibrary(data)
    path = Path(source.path).expanduser()
    if source.path.startswith(HF) or not path.is_dir():
        return Rows(data, source)
    listing = list_tree(path, DATA_SUFFIXES)
    if listing.files:
        return Tree(data, listing)
    if listing.data_files:
        return Rows(data, source)
    raise UserError(
        f"data source {source.path}: no source code in this directory, and no file that ends in "
        f"{', '.join(DATA_SUFFIXES)}{_most_dropped(listing)}"
    )


def _most_dropped(listing: Listing) -> str:
    if not listing.dropped:
        return ""
    first = listing.dropped[0]
    return f"; left out, for example: {first.where} ({first.reason})"


def _filtered(files: Iterable[CodeFile], by_name: ByName, drop: Drop) -> list[CodeFile]:
    kept = []
    for file in files:
        if dropped := by_name(file):
            drop(dropped)
        else:
            kept.append(file)
    return kept


def _split(files: list[CodeFile], share: float, max_bytes: int) -> list[CodeFile]:
    """Sets `held_out`, except for files without a repository."""
    largest = float("inf") if share >= 1 else 0.25
    repositories: dict[str, int] = {}
    names: dict[str, int] = {}
    for file in files:
        if file.repository:
            repositories[file.repository] = repositories.get(file.repository, 0) + file.size
            names[_name(file)] = names.get(_name(file), 0) + file.size
    limit = min(share * sum(repositories.values()), max_bytes)
    if len(repositories) > 1 and min(repositories.values()) <= limit:
        chosen = held_out_names(repositories, share, max_bytes, largest=max(1.0, largest))
        return [replace(file, held_out=file.repository in chosen) if file.repository else file for file in files]
    chosen = held_out_names(names, share, max_bytes, largest)
    return [replace(file, held_out=_name(file) in chosen) if file.repository else file for file in files]


def _name(file: CodeFile) -> str:
    """Independent of the source's place; the text names a row without a path."""
    return f"{file.repository}/{file.path or file.text}"


def _held_out_first(files: list[CodeFile]) -> list[CodeFile]:
    """So that their near copies leave training, not the other way round."""
    return sorted(files, key=lambda file: not file.held_out)


def _hash64(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
