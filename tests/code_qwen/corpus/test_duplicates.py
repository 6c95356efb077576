"""Copies and near copies go, what is merely alike stays; the first of several is the one kept."""

import pytest

from code_qwen.corpus import duplicates
from code_qwen.corpus.duplicates import Duplicates, fingerprint, signature

from .programs import program


def runs(text):
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def of(seen, name, text):
    return seen.reason_to_drop(name, fingerprint(text), signature(text))


def test_copies_up_to_white_space():
    seen = Duplicates(1.0)
    assert of(seen, "a", "def f():\n    return 1\n") is None
    assert of(seen, "b", "def f():\r\n\treturn 1") == "copy"
    assert of(seen, "c", "def f():\n    return 2\n") is None
    text = program(1)
    assert of(seen, "d", text) is None
    assert of(seen, "e", text.replace("return", "yield", 1)) is None  # near, which a threshold of 1 lets pass


@pytest.mark.parametrize("seed", range(5))
def test_near_copies(seed):
    seen = Duplicates(0.7)
    for i in range(20):
        assert of(seen, f"other {i}", program(100 * seed + i + 1000)) is None
    text = program(seed, lines=120)
    lines = text.splitlines()
    assert of(seen, "first", text) is None
    assert of(seen, "comment added", "# A comment on top.\n" + text) == "near copy"
    edited = "\n".join(line if i % 25 else line + " + 1" for i, line in enumerate(lines))
    assert of(seen, "some lines edited", edited) == "near copy"
    assert of(seen, "half of it", "\n".join(lines[: len(lines) // 2])) is None


def test_estimates_are_near_the_true_similarity():
    text = program(3, lines=200)
    lines = text.splitlines()
    for part in (0.5, 0.7, 0.9):
        other = "\n".join(lines[: int(part * len(lines))])
        true = len(runs(text) & runs(other)) / len(runs(text) | runs(other))
        assert abs(signature(text).jaccard(signature(other)) - true) < 0.16  # four standard deviations


def test_short_texts_and_a_full_index(monkeypatch):
    assert signature("a b c d") is None
    seen = Duplicates(0.7)
    assert of(seen, "a", "x = 1") is None and of(seen, "b", "x = 2") is None and of(seen, "c", "x = 1") == "copy"
    monkeypatch.setattr(duplicates, "INDEX_FILES", 1)
    seen = Duplicates(0.7)
    first, second = program(1, 60), program(2, 60)
    assert of(seen, "a", first) is None and of(seen, "b", second) is None
    assert of(seen, "c", first + "x = 1\n") == "near copy" and of(seen, "d", second + "x = 1\n") is None
