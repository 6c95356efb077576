"""From a source to token files: the same whoever reads, found again, split without near copies on both sides."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from code_qwen.corpus import corpus
from code_qwen.corpus.duplicates import signature
from code_qwen.recipe import CodeData
from qwen_shared.data import Meter, TokenFile, prepare
from qwen_shared.data.near_duplicates import shingles
from qwen_shared.data.stdlib import stdlib_text
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

from .programs import program


def build(reader, path, cache, **settings):
    data = reader(path, **settings).data
    return prepare(data, "default", cache, readers=corpus(data), for_training=False)[0]


def texts(prepared, part):
    """Every file's text, by the ends of documents."""
    tokenizer = load_tokenizer("default")
    tokens = np.asarray(TokenFile(getattr(prepared, part)).tokens)
    pieces = np.split(tokens, np.flatnonzero(tokens == tokenizer.eod_id) + 1)
    assert not len(pieces[-1])
    return [tokenizer.decode(piece[:-1].tolist()) for piece in pieces[:-1]]


@pytest.fixture
def tree(write):
    files = {f"pkg/m{i:02}.py": program(i) for i in range(40)}
    files["pkg/m00.py"] = "from pkg.m39 import x\n" + files["pkg/m00.py"]
    files["pkg/copy.py"] = files["pkg/m01.py"]
    return write("tree", files)


def test_token_files_hold_what_is_kept_in_its_order(reader, tree, tmp_path):
    prepared = build(reader, tree, tmp_path / "cache", validation_fraction=0.1)
    train, held = texts(prepared, "train"), texts(prepared, "validation")
    assert len(train) + len(held) == 40 and len(held) >= 2
    assert set(train + held) == {path.read_text() for path in tree.rglob("*.py")}
    first, then = (tree / "pkg/m39.py").read_text(), (tree / "pkg/m00.py").read_text()
    if first in train and then in train:
        assert train.index(first) < train.index(then)
    report = json.loads(Path(prepared.directory, "corpus.json").read_text())
    assert report["kept"]["files"] == 40 and report["held_out"]["files"] == len(held)
    assert list(report["dropped"]) == ["copy"] and report["dropped"]["copy"]["files"] == 1


def test_two_sources_of_one_dataset_are_two(rows, tmp_path):
    path = rows("a.jsonl", [{"new": program(i), "old": program(100 + i)} for i in range(6)])
    sources = [{"path": str(path), "text_key": key} for key in ("new", "old")]
    data = CodeData(sources=sources, seq_length=64, validation_fraction=0.0)
    new, old = prepare(data, "default", tmp_path / "cache", readers=corpus(data))
    assert set(texts(new, "train")) == {program(i) for i in range(6)}
    assert set(texts(old, "train")) == {program(100 + i) for i in range(6)}


def test_files_of_a_repository_stay_together_up_to_the_span(reader, tree):
    for span in (0, 5_000, 20_000):
        documents = list(reader(tree, filters={"repository_span": span}).documents(Meter()))
        sizes = [[len(file) for file in document.text.split("\0")] for document in documents]
        assert sum(map(len, sizes)) == 40
        assert all(len(files) == 1 or sum(files) <= span for files in sizes)
        assert (max(map(len, sizes)) > 1) == (span > 0)
    held = list(reader(tree, validation_fraction=0.2).documents(Meter()))
    assert all("\0" not in document.text for document in held if document.held_out)


def test_workers_do_not_matter(reader, write, monkeypatch):
    monkeypatch.setattr("code_qwen.corpus.filter._POOL_FROM", 50_000)
    monkeypatch.setattr("code_qwen.corpus.filter._BATCH_BYTES", 10_000)
    files = {f"a{i % 7}/m{i}.py": program(i) for i in range(100)}
    root = write("tree", files | {"x.py": b"\0" * 99, "y.py": program(1) + "x = 1\n"})
    one, two = reader(root, workers=1, validation_fraction=0.1), reader(root, workers=2, validation_fraction=0.1)
    assert list(one.documents(Meter())) == list(two.documents(Meter()))
    assert one.report == two.report
    assert one.report.dropped["binary"].files == 1


def test_found_again_until_something_changes(reader, tree, tmp_path):
    cache = tmp_path / "cache"
    first = build(reader, tree, cache)
    stamp = Path(first.directory).stat().st_ino
    assert build(reader, tree, cache) == first and Path(first.directory).stat().st_ino == stamp
    for settings in (
        {"filters": {"max_line_length": 999}},
        {"filters": {"scrub": False}},
        {"validation_fraction": 0.1},
    ):
        assert build(reader, tree, cache, **settings).directory != first.directory
    (tree / "pkg" / "new.py").write_text(program(99))
    changed = build(reader, tree, cache)
    assert changed.directory != first.directory and len(texts(changed, "train")) == 41
    (tree / ".gitignore").write_text("new.py\n")
    assert len(texts(build(reader, tree, cache), "train")) == 40


def test_no_near_copy_of_held_out_text_is_trained_on(reader, write):
    files = {f"r{r}/{i}.py": program(100 * r + i, 60) for r in range(12) for i in range(4)}
    files |= {f"s/{r}.py": "# A copy.\n" + files[f"r{r}/1.py"] for r in range(12)}
    for r in range(12):
        files[f"r{r}/.git/HEAD"] = ""
    root = write("clones", files)
    made = reader(root, validation_fraction=0.25)
    found = [filtered.file for filtered in made.files(Meter())]
    held = {file.repository for file in found if file.held_out}
    assert 1 <= len(held) <= 6 and held <= {f"r{r}" for r in range(12)} | {"clones"}
    assert not held & {file.repository for file in found if not file.held_out}
    secret = [signature(file.text) for file in found if file.held_out]
    for file in found:
        if not file.held_out:
            own = signature(file.text)
            assert max(own.jaccard(other) for other in secret) < 0.7
    assert made.report.dropped["near copy"].files >= 11


def test_a_single_repository_is_split_by_whole_files(reader, tree):
    found = [filtered.file for filtered in reader(tree, validation_fraction=0.2).files(Meter())]
    assert 4 <= sum(file.held_out for file in found) <= 12
    assert [file.held_out for file in found] == sorted((file.held_out for file in found), reverse=True)
    again = [filtered.file for filtered in reader(tree, validation_fraction=0.2).files(Meter())]
    assert again == found
    assert all(filtered.file.held_out for filtered in reader(tree, validation_fraction=1.0).files(Meter()))


def test_documents_limits_the_files_read(reader, tree, rows):
    limited = reader(tree, documents=7)
    assert len(list(limited.files(Meter()))) + limited.report.dropped_files == 7
    path = rows("a.jsonl", [{"content": program(i)} for i in range(20)])
    assert len(list(reader(path, documents=7).files(Meter()))) == 7


def test_progress_reaches_the_end(reader, tree):
    told = []
    meter = Meter(lambda done, total: told.append((done, total)))
    list(reader(tree).documents(meter))
    assert meter.done == meter.total == sum(p.stat().st_size for p in tree.rglob("*.py"))


@pytest.mark.heavy
def test_the_standard_library_is_split_like_its_prose(reader):
    made = reader("stdlib", workers=2, validation_fraction=0.06)
    files = [filtered.file for filtered in made.files(Meter())]
    prose = stdlib_text(0.06, 4_000_000)
    name = lambda path: re.sub(r"(/__init__)?\.py$", "", path).replace("/", ".")
    held = {name(file.path) for file in files if file.held_out}
    assert held == {document.name for document in prose.held_out}
    assert not held & {name(file.path) for file in files if not file.held_out}
    assert len(files) > 400 and sum(len(file.text) for file in files) > 6_000_000
    assert 300_000 < sum(len(file.text) for file in files if file.held_out) < 1_500_000
    assert not [f.where for f in files if {"test", "tests", "idle_test", "site-packages"} & set(Path(f.where).parts)]
    secret = {shingle for file in files if file.held_out for shingle in shingles(file.text)}
    for file in files:
        if not file.held_out:
            own = shingles(file.text)
            assert sum(shingle in secret for shingle in own) <= 0.31 * len(own), file.path
    assert all(file.licence for file in files)


def test_changes_while_reading_are_noticed(reader, tree, tmp_path):
    data = reader(tree).data
    (made,) = corpus(data).values()

    def read(meter):
        yield from made.read(meter)
        (tree / "pkg" / "m05.py").write_text("x = 1\n" * 99)

    changing = {str(tree): replace(made, read=read)}
    with pytest.raises(UserError, match="changed while it was being read"):
        prepare(data, "default", tmp_path / "cache", readers=changing)
