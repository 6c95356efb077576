"""What is rearranged can be put back; nothing else changes; and it happens as often as asked."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from qwen_shared.data.fim import SPECIAL_TOKENS, FimDataset, fim_token_ids
from qwen_shared.data.samples import collate
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

LENGTH = 160
WORDS = [
    "def ", "return ", "x += 1\n", "    ", "tokenisation ", "你好，世界。", "函数", "👩‍🚀🙂", "é", "naïve ", "12345 ",
    "#include <stdio.h>\n", "\n\n", "  \t", "if (a && b) {\n", "Δελτα ", "self.value = value\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("default")


class Dataset:
    """Packed samples of random documents, as PackedDataset gives them: cut anywhere, also within a character."""

    def __init__(self, tokenizer, seed, words=WORDS, longest=60):
        draw = random.Random(seed)
        ids = []
        while len(ids) < 60 * LENGTH:
            text = "".join(draw.choices(words, k=draw.randint(0, longest)))
            ids += [*tokenizer.encode(text), tokenizer.eod_id]
        self.ids = np.array(ids, np.int64)

    def sample(self, k):
        return self.ids[k * LENGTH : (k + 1) * LENGTH + 1].copy()


def content(tokenizer, ids):
    """Bytes, with a mark for each end of a document."""
    return b"".join(b"\xff" if id == tokenizer.eod_id else tokenizer.token_bytes(int(id)) for id in ids)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rate", "spm_rate"), [(1.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_undone_exactly_and_of_the_same_length(tokenizer, seed, rate, spm_rate):
    dataset = Dataset(tokenizer, seed, longest=(3, 30, 60, 400)[seed])
    filled = FimDataset(dataset, tokenizer, rate, spm_rate, seed)
    prefix, middle, suffix = fim_token_ids(tokenizer)
    for k in range(50):
        original, changed = dataset.sample(k), filled.sample(k)
        assert changed.shape == original.shape and changed.dtype == original.dtype
        restored = content(tokenizer, filled.undo(changed))
        whole = content(tokenizer, original)
        assert whole.startswith(restored)
        # What is missing at the end is what the special tokens took, and little more for cuts within tokens.
        specials = sum((changed == id).sum() for id in (prefix, middle, suffix))
        lost = len(original) - sum(np.array([len(tokenizer.encode(p)) + 1 for p in _texts(tokenizer, restored)]))
        assert lost <= 3 * specials + 2
        for id in (prefix, middle, suffix):
            assert (changed == id).sum() == specials // 3


def _texts(tokenizer, marked):
    return [piece.decode("utf-8", "replace") for piece in marked.split(b"\xff")]


def test_order_of_documents_and_places_of_the_loss(tokenizer):
    dataset = Dataset(tokenizer, 7)
    filled = FimDataset(dataset, tokenizer, 1.0, 0.5, 7)
    for k in range(30):
        changed = filled.sample(k)
        documents = np.split(changed, np.flatnonzero(changed == tokenizer.eod_id) + 1)
        originals = np.split(dataset.sample(k), np.flatnonzero(dataset.sample(k) == tokenizer.eod_id) + 1)
        for document, original in zip(documents[:-1], originals, strict=False):  # the last may be cut short
            assert content(tokenizer, filled.undo(document)) == content(tokenizer, original)
        made = collate([changed], tokenizer.eod_id)
        assert np.array_equal(made["loss_mask"][0] == 0, changed[:-1] == tokenizer.eod_id)
        assert np.array_equal(made["labels"][0], changed[1:])


def test_the_two_forms_literally(tokenizer):
    prefix, middle, suffix = fim_token_ids(tokenizer)
    assert [tokenizer.special_tokens[name] for name in SPECIAL_TOKENS[0][:3]] == [prefix, middle, suffix]
    text = "def f(a, b):\n    return a + b  # 和 🙂\n" * 4
    document = [*tokenizer.encode(text), tokenizer.eod_id]
    rest = tokenizer.encode("x = 1\n" * LENGTH)[: LENGTH + 1 - len(document)]

    class One:
        def sample(self, k):
            return np.array(document + rest, np.int64)

    decode = lambda ids: tokenizer.decode(ids, errors="strict")
    for k in range(20):
        psm = FimDataset(One(), tokenizer, 1.0, 0.0, 3).sample(k).tolist()
        end, s, m = psm.index(tokenizer.eod_id), psm.index(suffix), psm.index(middle)
        assert psm[0] == prefix and 0 < s < m < end
        first, second, last = decode(psm[1:s]), decode(psm[m + 1 : end]), decode(psm[s + 1 : m])
        assert first + second + last == text
        spm = FimDataset(One(), tokenizer, 1.0, 1.0, 3).sample(k).tolist()
        end, m = spm.index(tokenizer.eod_id), spm.index(middle)
        assert spm[:2] == [prefix, suffix]
        # The same cuts, drawn by the same numbers.
        assert decode(spm[2:m]) == last and decode(spm[m + 1 : end]) == first + second


def test_cuts_are_uniform_over_characters_and_seldom_at_borders_of_tokens(tokenizer):
    text = "internationalisation of 国际化的软件 🙂🙂🙂 antidisestablishmentarianism\n"
    document = [*tokenizer.encode(text), tokenizer.eod_id]

    class One:
        def sample(self, k):
            return np.array((document * LENGTH)[: LENGTH + 1], np.int64)

    _, middle, suffix = fim_token_ids(tokenizer)
    filled = FimDataset(One(), tokenizer, 1.0, 0.0, 5)
    counts = np.zeros(len(text) + 1)
    for k in range(1500):
        ids = filled.sample(k).tolist()
        s, m, end = ids.index(suffix), ids.index(middle), ids.index(tokenizer.eod_id)
        first = len(tokenizer.decode(ids[1:s], errors="strict"))
        counts[first] += 1
        counts[first + len(tokenizer.decode(ids[m + 1 : end], errors="strict"))] += 1
    expected = counts.sum() / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 2 * len(counts)  # chi-squared; its mean is len(counts)


def test_share_is_as_set(tokenizer):
    dataset = Dataset(tokenizer, 1, longest=12)
    prefix, _, suffix = fim_token_ids(tokenizer)
    pieces = rearranged = spm = 0
    for seed in range(10):
        filled = FimDataset(dataset, tokenizer, 0.3, 0.25, seed)
        for k in range(50):
            ids = filled.sample(k)
            parts = [p for p in np.split(ids, np.flatnonzero(ids == tokenizer.eod_id) + 1)[:-1] if len(p) > 1]
            pieces += len(parts)
            rearranged += sum(p[0] == prefix for p in parts)
            spm += sum(p[0] == prefix and p[1] == suffix for p in parts)
    assert pieces > 1500
    assert abs(rearranged - 0.3 * pieces) < 4 * (0.3 * 0.7 * pieces) ** 0.5
    # An empty prefix looks like SPM, which a few of the short documents have.
    assert abs(spm - 0.25 * rearranged) < 4 * (0.25 * 0.75 * rearranged) ** 0.5 + 0.05 * rearranged


def test_rate_zero_is_the_stream_itself_and_the_rest_depends_on_seed_and_number_only(tokenizer):
    dataset = Dataset(tokenizer, 2)
    for k in range(10):
        assert np.array_equal(FimDataset(dataset, tokenizer, 0.0, 0.5, 1).sample(k), dataset.sample(k))
    one, two = FimDataset(dataset, tokenizer, 0.7, 0.5, 1), FimDataset(dataset, tokenizer, 0.7, 0.5, 1)
    backwards = {k: two.sample(k) for k in reversed(range(10))}
    assert all(np.array_equal(one.sample(k), backwards[k]) for k in range(10))
    other = FimDataset(dataset, tokenizer, 0.7, 0.5, 2)
    assert any(not np.array_equal(one.sample(k), other.sample(k)) for k in range(10))


def test_a_tokenizer_without_the_special_tokens_is_refused():
    bare = SimpleNamespace(special_tokens={"<|endoftext|>": 0})
    with pytest.raises(UserError, match=r"<\|extra_0\|>.*data.fim_rate=0"):
        fim_token_ids(bare)
    bare.special_tokens = {name: 7 + i for i, name in enumerate(SPECIAL_TOKENS[1])}
    assert fim_token_ids(bare) == (7, 8, 9)
