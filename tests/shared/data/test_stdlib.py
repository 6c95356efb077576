"""The embedded corpus is enough text, English, and held-out modules stay unseen."""

import re
import sysconfig
from pathlib import Path

import pytest

from qwen_shared.data import Meter, stdlib
from qwen_shared.data.stdlib import stdlib_text
from qwen_shared.data.texts import text_reader
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data

pytestmark = pytest.mark.heavy  # the whole corpus is read


def words_of(text, n=8):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def num_bytes(documents):
    return sum(len(d.text.encode()) for d in documents)


@pytest.fixture(scope="module")
def corpus():
    return stdlib_text(0.06, 4_000_000)


def test_there_is_enough_text_on_both_sides(corpus):
    assert num_bytes(corpus.training) >= 2_000_000
    assert 100_000 <= num_bytes(corpus.held_out) <= 300_000
    assert len(corpus.held_out) >= 10
    assert max(num_bytes([d]) for d in corpus.held_out) <= 0.25 * num_bytes(corpus.held_out)


def test_held_out_modules_are_not_in_training_by_name_or_text(corpus):
    held = {d.name for d in corpus.held_out}
    assert not held & {d.name for d in corpus.training} and not any(name.startswith("topic ") for name in held)
    assert {d.held_out for d in corpus.held_out} == {True} and {d.held_out for d in corpus.training} == {False}
    secret = set().union(*(words_of(d.text) for d in corpus.held_out))
    spaced = " ".join(" ".join(d.text.split()) for d in corpus.held_out)
    for document in corpus.training:
        shingles = words_of(document.text)
        assert len(shingles & secret) <= 0.31 * len(shingles), document.name
        for paragraph in document.text.split("\n\n"):
            assert len(paragraph.split()) < 12 or " ".join(paragraph.split()) not in spaced, document.name


def test_only_the_library_itself_is_read():
    root = Path(sysconfig.get_path("stdlib"))
    for path, size, _ in stdlib.stdlib_identities():
        assert size == (root / path).stat().st_size
        parts = Path(path).parts
        assert not {"site-packages", "dist-packages", "test", "tests", "idle_test", "encodings"} & set(parts)


def test_it_is_prose(corpus):
    text = "".join(d.text for d in corpus.training + corpus.held_out)
    assert sum(c.isalpha() or c.isspace() for c in text) > 0.85 * len(text)
    assert sum(ord(c) < 128 for c in text) > 0.99 * len(text)
    assert sum(text.count(word) for word in (" the ", " is ", " of ")) > len(text) / 100


@pytest.fixture
def small_library(tmp_path, monkeypatch):
    """Forty modules with their own words, one copy of each in another folder, and tests that must not be read."""
    monkeypatch.setattr(stdlib, "_root", lambda: tmp_path)
    for i in range(40):
        sentences = " ".join(f"word{i}x{j} tells of thing{j}y{i} and ends." for j in range(40))
        for folder in ("", "copies", "test", "site-packages"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"m{i}.py").write_text(f'"""{folder.title()} {sentences}\n\nMore of {i}.\n"""\n')
    return tmp_path


def test_near_duplicates_leave_training_and_the_split_is_by_name(small_library):
    corpus = stdlib_text(0.2, 4_000_000)
    held = {d.name for d in corpus.held_out}
    assert 12 <= len(held) <= 18
    twins = {name.removeprefix("copies.") if "." in name else f"copies.{name}" for name in held} - held
    assert set(corpus.dropped_documents) == twins
    modules = {d.name for d in corpus.training if not d.name.startswith("topic ")}
    assert not modules & (held | twins) and len(modules) + len(held) + len(twins) == 80
    (small_library / "m_new.py").write_text('"""' + "Another module with other words. " * 20 + '"""\n')
    again = {d.name for d in stdlib_text(0.2, 4_000_000).held_out}
    assert len(again ^ held) <= 2  # a new module hardly moves the split


def test_limits(small_library):
    assert stdlib_text(0.0, 4_000_000).held_out == []
    assert len(stdlib_text(1e-9, 4_000_000).held_out) == 1
    assert num_bytes(stdlib_text(0.5, 10_000).held_out) < 13_000
    data = Data(sources="stdlib", seq_length=8, validation_fraction=0.0, documents=5)
    assert len(list(text_reader(data, data.sources[0]).read(Meter()))) == 5


def test_an_installation_without_text_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(stdlib, "_root", lambda: tmp_path)
    with pytest.raises(UserError, match="no documentation in"):
        stdlib_text(0.1, 1000)
