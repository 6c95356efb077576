import pickle
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from qwen_shared.tokenizer.qwen import SPECIAL_TOKENS, QwenTokenizer

from .hard_strings import HARD_STRINGS, random_strings


def test_ids_of_special_tokens(tokenizer):
    regular = len(tokenizer.ranks)
    assert tokenizer.vocab_size == regular + 208
    assert list(tokenizer.special_tokens.values()) == list(range(regular, regular + 208))
    expected = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
    assert list(tokenizer.special_tokens) == expected
    assert tokenizer.eod_id == tokenizer.pad_id == regular
    assert set(tokenizer.stop_ids) == {regular, regular + 2}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HARD_STRINGS.items()])
def test_decode_gives_back_the_normalised_text(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)
    assert all(0 <= id < len(tokenizer.ranks) for id in ids)


def test_random_text_survives_and_yields_no_special_token(tokenizer):
    for text in random_strings(2000, seed=1):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)
        assert max(ids) < len(tokenizer.ranks)


@pytest.mark.parametrize("special", SPECIAL_TOKENS)
def test_no_text_spells_a_special_token(tokenizer, special):
    for text in (special, f"a{special}b", f" {special}\n", special * 2):
        assert max(tokenizer.encode(text)) < len(tokenizer.ranks)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_stand_alone(tokenizer):
    assert [tokenizer.token_bytes(id) for id in tokenizer.encode("2023")] == [b"2", b"0", b"2", b"3"]
    assert not [token for token in tokenizer.ranks if sum(chr(byte).isdigit() for byte in token if byte < 128) > 1]


def test_normalisation_is_nfc(tokenizer):
    assert tokenizer.encode("e\u0301") == tokenizer.encode("\u00e9")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("x\ud83d\ude00y", "x😀y"),  # both halves of a pair are the character
    ],
)
def test_surrogates(tokenizer, text, meaning):
    assert tokenizer.encode(text) == tokenizer.encode(meaning)


def test_parts_of_characters_decode(tokenizer):
    ids = tokenizer.encode("𠮷")  # rare, so several tokens of incomplete UTF-8
    assert len(ids) > 1
    assert "\ufffd" in tokenizer.decode(ids[:-1])
    assert tokenizer.decode(ids[:-1], errors="ignore") == ""
    assert tokenizer.decode(ids) == "𠮷"
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode(ids[1:], errors="strict")


def test_bytes_of_tokens(tokenizer):
    lengths = tokenizer.token_byte_lengths()
    assert lengths.dtype == np.int32
    assert lengths.shape == (tokenizer.vocab_size,)
    assert [len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)] == lengths.tolist()
    assert (lengths[: len(tokenizer.ranks)] > 0).all()
    assert (lengths[len(tokenizer.ranks) :] == 0).all()
    text = HARD_STRINGS["Chinese"]
    assert lengths[tokenizer.encode(text)].sum() == len(text.encode())


def test_decode_takes_arrays_and_leaves_out_special_tokens(tokenizer):
    ids = [tokenizer.eod_id, *tokenizer.encode("one"), *tokenizer.stop_ids]
    assert tokenizer.decode(np.array(ids)) == "one"


@pytest.mark.parametrize("id", [-1, 8192])
def test_ids_outside_the_vocabulary_are_refused(tokenizer, id):
    with pytest.raises(ValueError, match="outside the vocabulary of 8192"):
        tokenizer.decode([id])


@pytest.mark.heavy
@pytest.mark.parametrize("space", [" ", pytest.param("\u3000", marks=pytest.mark.slow)])
def test_runs_of_spaces_that_tiktoken_alone_cannot_take(tokenizer, space):
    # The last space before a word belongs to the word or stands alone; all before it are one piece.
    run, longer = space * 1_200_000, space * 1_200_001
    piece = tokenizer._encoding._encode_single_piece(run)
    head, tail = tokenizer.encode("a\n"), tokenizer.encode(space + "b")
    assert tokenizer.encode("a\n" + longer + "b") == head + piece + tail
    assert tokenizer.encode("a\n" + run) == head + piece
    assert tokenizer.encode("a" + longer + "b" + longer + "b") == tokenizer.encode("a") + (piece + tail) * 2
    text = longer + "\n" + run
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_fingerprint(tokenizer):
    assert QwenTokenizer(dict(reversed(tokenizer.ranks.items()))).fingerprint == tokenizer.fingerprint
    swapped = dict(tokenizer.ranks)
    swapped[b"a"], swapped[b"b"] = swapped[b"b"], swapped[b"a"]
    assert QwenTokenizer(swapped).fingerprint != tokenizer.fingerprint


def test_travels_to_other_processes(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    text = HARD_STRINGS["Chinese"]
    assert copy.encode(text) == tokenizer.encode(text)
    assert copy.fingerprint == tokenizer.fingerprint


def test_imports_nothing_heavy():
    heavy = "torch", "transformers", "tokenizers", "dashscope"
    code = "import sys, qwen_shared.tokenizer as t; t.load_tokenizer('default').encode('a'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(heavy) & set(loaded)
