"""Trees and datasets of code, small and made on the spot."""

import gzip
import json
from pathlib import Path

import pytest

from code_qwen.corpus import report
from code_qwen.corpus.reading import CodeReader
from code_qwen.recipe import CodeData
from qwen_shared.data import Meter


@pytest.fixture
def write(tmp_path):
    """Puts files into a folder: `write("tree", {"a/b.py": text_or_bytes})` returns the folder."""

    def write(name: str, files: dict[str, str | bytes]) -> Path:
        for path, content in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write


@pytest.fixture
def reader():
    """`reader(path, key=value, filters={…})`; by default nothing is held out and one process reads."""

    def make(path, workers: int = 1, filters: dict | None = None, source: dict | None = None, **data) -> CodeReader:
        settings = {"validation_fraction": 0.0, "seq_length": 64, "filters": filters or {}, **data}
        made = CodeData(sources=[{"path": str(path), **(source or {})}], **settings)
        return CodeReader(made, made.sources[0], workers)

    return make


@pytest.fixture
def kept(reader, monkeypatch):
    """Paths of what is kept, and the reasons of what is not: {path: reason or None}."""

    monkeypatch.setattr(report, "EXAMPLES", 1000)

    def look(path, **settings) -> dict[str, str | None]:
        made = reader(path, **settings)
        found: dict[str, str | None] = {filtered.file.path: None for filtered in made.files(Meter())}
        for reason, tally in made.report.dropped.items():
            found |= dict.fromkeys(tally.examples, reason)
        return found

    return look


@pytest.fixture
def rows(tmp_path):
    """Writes rows as .jsonl, .jsonl.gz or .parquet, as the name says."""

    def write(name: str, rows: list[dict]) -> Path:
        path = tmp_path / name
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if name.endswith(".parquet"):
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return write
