"""The split is a function of the texts, keeps copies together, and never holds out nothing or everything by chance."""

import random

import pytest

from qwen_shared.data.documents import Document
from qwen_shared.data.split import Split, held_out_names


def divide(texts, share, max_bytes=10**9):
    split = Split(share, max_bytes)
    parts = {True: [], False: []}
    for document, held_out in split(Document(text, "") for text in texts):
        parts[held_out].append(document.text)
    return parts[True], parts[False], split.copies_dropped


TEXTS = [f"text number {i}" for i in range(5000)]


def test_share_is_met_and_nothing_is_lost():
    held, train, dropped = divide(TEXTS, 0.1)
    assert 400 < len(held) < 600 and dropped == 0
    assert sorted(held + train) == sorted(TEXTS)


def test_order_and_other_documents_do_not_matter():
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    held = set(divide(TEXTS, 0.1)[0])
    assert set(divide(shuffled, 0.1)[0]) == held
    assert set(divide(TEXTS[:1000], 0.1)[0]) == held & set(TEXTS[:1000])
    assert held < set(divide(TEXTS, 0.2)[0])


def test_no_text_is_on_both_sides_even_past_the_limit():
    texts = [text for text in TEXTS for _ in range(3)]
    random.Random(1).shuffle(texts)
    for max_bytes in (10**9, 1000):
        held, train, dropped = divide(texts, 0.1, max_bytes)
        assert not set(held) & set(train)
        assert len(set(held)) == len(held) and dropped == 2 * len(held)
        assert len(held) + len(train) + dropped == len(texts)
    assert 1000 <= sum(map(len, held)) < 1020


def test_at_least_one_is_held_out_if_there_are_two():
    for n in range(2, 40):
        texts = [f"few {n} {i}" for i in range(n)] * 2
        held, train, dropped = divide(texts, 1e-12)
        assert len(held) == 1 and dropped == 1
        assert sorted(held * 2 + train) == sorted(texts)
        assert held == divide(texts[::-1], 1e-12)[0]
    assert divide(["only one"] * 3, 0.01) == ([], ["only one"] * 3, 0)
    assert divide(TEXTS, 0.0) == ([], TEXTS, 0)


def test_sides_that_a_source_has_chosen_are_kept():
    documents = [Document("a", "", False), Document("b", "", True)]
    assert [held for _, held in Split(0.5, 100)(documents)] == [False, True]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_something_is_always_left_to_train_on(count):
    """Documents that would all be held out: the one with the highest hash is trained on."""
    documents = [Document(f"text {i}", f"{i}") for i in range(count)]
    held = [held for _, held in Split(0.999999999, 10**6)(documents)]
    assert len(held) == count and held.count(False) == 1


def test_all_is_held_out_where_that_is_asked_for():
    documents = [Document(f"text {i}", f"{i}") for i in range(3)]
    assert [held for _, held in Split(1.0, 10**6)(documents)] == [True] * 3


def test_if_every_name_is_too_large_the_smallest_is_held_out():
    for name in "abcdefgh":
        sizes = dict.fromkeys("abcdefgh", 1000) | {name: 900}
        assert held_out_names(sizes, 0.01, 4_000_000) == {name}
    assert held_out_names({"\ud800": 2, "b": 3}, 0.01, 4_000_000) == {"\ud800"}
