"""Reads a source of code as documents: filtered, scrubbed, deduplicated, a repository's files together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_qwen.corpus.duplicates import Duplicates
from code_qwen.corpus.file import Dropped
from code_qwen.corpus.filter import Filter, FilteredFile, filter_files
from code_qwen.corpus.order import imports_first
from code_qwen.corpus.report import Report
from code_qwen.corpus.sources import open_source
from qwen_shared.data.check import HF
from qwen_shared.data.documents import FILE_END, Document, FileIdentity, Meter, SourceReader
from qwen_shared.data.near_duplicates import is_near_duplicate, shingles
from qwen_shared.errors import UserError

if TYPE_CHECKING:
    from code_qwen.corpus.settings import CodeSource
    from code_qwen.recipe import CodeData

_REPOSITORY_BYTES = 32 << 20  # of a repository's files that are ordered together


class CodeReader:
    """Reads one source, each time the same. `report`: of the last time."""

    def __init__(self, data: CodeData, source: CodeSource, workers: int | None = None):
        self.data = data
        self.source = source
        self.workers = workers
        self.report = Report()
        self._opened = open_source(data, source)

    def as_source_reader(self) -> SourceReader:
        return SourceReader(self.documents, self.settings(), self.identity, lambda: self.report.as_dict())

    def identity(self) -> list[FileIdentity]:
        return self._opened.identity()

    def settings(self) -> dict[str, Any]:
        """What decides the documents besides the files: settings and this package's code."""
        code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
        source = self.source
        keys = ("config", "split", "data_dir") if source.path.startswith(HF) else ()
        return {
            "filters": self.data.filters.model_dump(mode="json"),
            "code": code.hexdigest()[:16],
            "text_key": source.text_key,
            **{key: getattr(source, key) for key in keys},
        }

    def documents(self, meter: Meter) -> Iterator[Document]:
        """One file, or several of a repository with FILE_END between them; held-out files stay alone.

        Raises UserError if no file is kept.
        """
        waiting: list[FilteredFile] = []
        size = 0
        for file in self.files(meter):
            same = waiting and _group(waiting[0]) == _group(file)
            if waiting and (not same or size >= _REPOSITORY_BYTES):
                yield from self._repository_documents(waiting)
                waiting, size = [], 0
            waiting.append(file)
            size += len(file.file.text or "")
        yield from self._repository_documents(waiting)

    def files(self, meter: Meter) -> Iterator[FilteredFile]:
        """The kept files in the source's order."""
        self.report = report = Report(self._opened.root)
        duplicates = Duplicates(self.data.filters.near_duplicate_threshold)
        held_out_shingles: set[int] = set()  # if the source splits by text
        files = self._opened.files(Filter(self.data.filters).by_name, report.drop, meter)
        done = 0
        for result, size in filter_files(files, self.data.filters, self.workers):
            done += size
            if meter.total is not None and not self._reads_rows:
                meter.at(done)
            if isinstance(result, Dropped):
                report.drop(result)
                continue
            file = result.file
            reason = duplicates.reason_to_drop(file.where, result.fingerprint, result.signature)
            if not reason and self._opened.splits_by_text:
                if file.held_out:
                    held_out_shingles.update(shingles(file.text or ""))
                elif is_near_duplicate(file.text or "", held_out_shingles):
                    reason = "near held-out text"
            if reason:
                report.drop(Dropped(reason, file.where, file.language, size))
                continue
            report.keep(result)
            yield result
        if not report.kept_files:
            raise UserError(f"data source {self.source.path}: the filters leave nothing{_why(report)}")

    @property
    def _reads_rows(self) -> bool:
        from code_qwen.corpus.sources import Rows

        return isinstance(self._opened, Rows)

    def _repository_documents(self, files: list[FilteredFile]) -> Iterator[Document]:
        """About `repository_span` bytes from one repository and one side of the split."""
        span = self.data.filters.repository_span
        ordered = imports_first(files, lambda file: file.file.path, lambda file: file.imports)
        run: list[FilteredFile] = []
        size = 0
        for filtered in ordered:
            text = filtered.file.text or ""
            if run and (filtered.file.held_out is not False or size + len(text) > span):
                yield _document(run)
                run, size = [], 0
            run.append(filtered)
            size += len(text)
        if run:
            yield _document(run)


def _group(filtered: FilteredFile) -> tuple[str, bool | None]:
    return filtered.file.repository, filtered.file.held_out


def _document(run: list[FilteredFile]) -> Document:
    first = run[0].file
    name = first.where if len(run) == 1 else f"{first.where} and {len(run) - 1} more"
    return Document(FILE_END.join(file.file.text or "" for file in run), name, first.held_out)


def _why(report: Report) -> str:
    reasons = sorted(report.dropped.items(), key=lambda entry: -entry[1].files)[:3]
    return "".join(f"; {tally.files:,} {reason} (as {tally.examples[0]})" for reason, tally in reasons)
