"""Windows cover the held-out text once, and bits per byte mean what they say."""

import gzip
import math

import numpy as np
import pytest

from qwen_shared.data import PreparedSource, TokenFileWriter, ValidationText
from qwen_shared.errors import UserError
from qwen_shared.tokenizer import load_tokenizer

DOCUMENTS = [["A first document.\nTwo lines.", "naïve 你好"], ["x", "", "the last 🙂 one " * 20]]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("default")


@pytest.fixture
def sources(tmp_path, tokenizer):
    prepared = []
    for i, texts in enumerate(DOCUMENTS):
        (tmp_path / str(i)).mkdir()
        with TokenFileWriter(tmp_path / str(i) / "validation", np.uint16) as writer:
            for text in texts:
                writer.add(np.array([*tokenizer.encode(text), tokenizer.eod_id]))
        prepared.append(PreparedSource(str(i), str(tmp_path / str(i)), {}, 1.0))
    return prepared


@pytest.mark.parametrize("seq_length", [1, 5, 16, 1000])
def test_windows_cover_every_target_once(sources, tokenizer, seq_length):
    text = ValidationText(sources, tokenizer, seq_length)
    wanted = [t for texts in DOCUMENTS for d in texts for t in [*tokenizer.encode(d), tokenizer.eod_id]]
    inputs, targets = [], []
    for j in range(text.num_windows):
        tokens, labels, loss_mask, all_mask = text.window(j)
        assert {len(a) for a in (tokens, labels, loss_mask, all_mask)} == {seq_length}
        real = all_mask == 1
        inputs += tokens[real].tolist()
        targets += labels[real].tolist()
        assert np.array_equal(loss_mask, all_mask * (tokens != tokenizer.eod_id))
        assert (labels[~real] == tokenizer.eod_id).all()
    assert targets == wanted and inputs == [tokenizer.eod_id, *wanted[:-1]]
    assert text.num_tokens == len(wanted) and text.num_windows == math.ceil(len(wanted) / seq_length)
    with pytest.raises(IndexError):
        text.window(text.num_windows)


def test_bytes_and_gzip_are_those_of_the_text(sources, tokenizer):
    text = ValidationText(sources, tokenizer, 16)
    documents = [d for texts in DOCUMENTS for d in texts]
    assert text.text() == "\n".join(documents)
    assert text.num_bytes == sum(len(d.encode()) for d in documents)
    packed = gzip.compress("\n".join(documents).encode(), 9, mtime=0)
    assert text.gzip_bits_per_byte() == 8 * len(packed) / text.num_bytes


def test_limit_keeps_the_beginning(sources, tokenizer):
    whole, part = ValidationText(sources, tokenizer, 4), ValidationText(sources, tokenizer, 4, limit_tokens=10)
    assert (part.num_tokens, part.num_windows) == (10, 3)
    for j in range(2):
        assert all(np.array_equal(a, b) for a, b in zip(part.window(j), whole.window(j), strict=True))
    assert part.window(2)[3].tolist() == [1, 1, 0, 0]
    first = len(tokenizer.encode(DOCUMENTS[0][0])) + 1
    part = ValidationText(sources, tokenizer, 4, limit_tokens=first)
    assert part.text() == DOCUMENTS[0][0] and part.num_bytes == len(DOCUMENTS[0][0])
    assert ValidationText(sources, tokenizer, 4, limit_tokens=10**9).num_tokens == whole.num_tokens


def test_nothing_held_out_is_refused(tmp_path, tokenizer):
    with TokenFileWriter(tmp_path / "validation", np.uint16):
        pass
    with pytest.raises(UserError, match="no text is held out"):
        ValidationText([PreparedSource("a", str(tmp_path), {}, 1.0)], tokenizer, 4)
