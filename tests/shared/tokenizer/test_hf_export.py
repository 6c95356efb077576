import json
import random

import pytest

from qwen_shared.tokenizer import QwenTokenizer, load_tokenizer
from qwen_shared.tokenizer.hf_export import fast_tokenizer, rebuild_merges
from qwen_shared.tokenizer.hf_files import byte_names
from qwen_shared.tokenizer.qwen import SPECIAL_TOKENS, SPLIT_PATTERN

from .hard_strings import HARD_STRINGS, random_strings


def hf_ids(hf, text: str) -> list[int]:
    return hf(text, split_special_tokens=True, verbose=False)["input_ids"]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HARD_STRINGS.items()])
def test_equal_ids_on_hard_strings(tokenizer, hf, text):
    ids = tokenizer.encode(text)
    assert hf_ids(hf, text) == ids
    assert hf.decode(ids) == tokenizer.decode(ids)


def test_equal_ids_on_random_strings(tokenizer, hf):
    for text in random_strings(2000):
        assert hf_ids(hf, text) == tokenizer.encode(text), ascii(text)


def test_equal_ids_on_every_token_and_common_character(tokenizer, hf):
    texts = [tokenizer.decode([id]) for id in range(len(tokenizer.ranks))]
    texts += [text + other for text, other in zip(texts, reversed(texts), strict=True)]
    assert hf(texts, split_special_tokens=True)["input_ids"] == [tokenizer.encode(text) for text in texts]


def test_equal_text_from_broken_utf8(tokenizer, hf):
    chosen = random.Random(0)
    for _ in range(500):
        ids = [chosen.randrange(len(tokenizer.ranks)) for _ in range(chosen.randrange(1, 20))]
        ids += [chosen.randrange(128, 256) for _ in range(chosen.randrange(6))]
        assert hf.decode(ids) == tokenizer.decode(ids)


@pytest.mark.slow
def test_spaces_of_more_than_a_million(tokenizer, hf):
    for text in ("a\n" + " " * 1_100_000 + "b", " " * 600_000 + "\n" + "\u3000" * 600_000):
        assert hf_ids(hf, text) == tokenizer.encode(text)


def test_one_merge_a_token_is_enough_for_any_vocabulary():
    # Vocabularies nobody trained: tokens in any order, some of which no merge reaches.
    chosen = random.Random(0)
    singles = [bytes([byte]) for byte in range(256)]
    for _ in range(60):
        words = {"".join(chosen.choices("abc", k=chosen.randrange(2, 7))).encode() for _ in range(chosen.randrange(60))}
        tokens = [*singles, *sorted(words)]
        chosen.shuffle(tokens)
        tokenizer = QwenTokenizer({token: rank for rank, token in enumerate(tokens)})
        fast = fast_tokenizer(tokenizer.ranks, SPLIT_PATTERN, SPECIAL_TOKENS)
        for _ in range(100):
            text = "".join(chosen.choices("abc", weights=(3, 2, 1), k=chosen.randrange(1, 40)))
            assert fast.encode(text).ids == tokenizer.encode(text), (text, tokens)


def test_special_tokens(tokenizer, hf):
    assert len(hf) == tokenizer.vocab_size
    assert hf.convert_tokens_to_ids(list(tokenizer.special_tokens)) == list(tokenizer.special_tokens.values())
    assert hf.eos_token_id == tokenizer.stop_ids[0]
    assert hf.pad_token_id == tokenizer.pad_id
    assert set(hf.all_special_ids) == set(tokenizer.special_tokens.values())
    ids = [*tokenizer.special_tokens.values(), *tokenizer.encode("end")]
    assert hf.decode(ids, skip_special_tokens=True) == "end"


def test_loads_beside_the_config_of_a_model(tokenizer, tmp_path):
    from transformers import AutoTokenizer, Qwen2Config

    Qwen2Config(vocab_size=8192, hidden_size=8, num_hidden_layers=1).save_pretrained(tmp_path)
    tokenizer.save_hf(tmp_path)
    hf = AutoTokenizer.from_pretrained(tmp_path)
    for text in random_strings(100, seed=2):
        assert hf_ids(hf, text) == tokenizer.encode(text)


def test_round_trip(tokenizer, hf_directory):
    again = load_tokenizer(str(hf_directory))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.ranks == tokenizer.ranks


def test_writes_again_over_itself_and_leaves_nothing_else(tokenizer, tmp_path):
    directory = tmp_path / "new" / "export"
    tokenizer.save_hf(directory)
    first = {path.name: path.read_bytes() for path in directory.iterdir()}
    tokenizer.save_hf(str(directory))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == first
    names = {"qwen.tiktoken", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"}
    assert set(first) == names
    assert json.loads(first["tokenizer.json"])["model"]["ignore_merges"] is True


def test_byte_names_are_the_usual_ones():
    from tokenizers import pre_tokenizers

    names = byte_names()
    assert sorted(names) == sorted(pre_tokenizers.ByteLevel.alphabet())
    text = "".join(map(chr, range(128))) + "é中🙂"
    shown = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[0][0]
    assert "".join(names[byte] for byte in text.encode()) == shown


def test_merges_join_to_their_token(tokenizer):
    merges = rebuild_merges(tokenizer.ranks)
    ranks = [tokenizer.ranks[left + right] for left, right in merges]
    assert ranks == sorted(set(ranks))
    # Every token of the embedded vocabulary was made by a merge, so all but the bytes can be reached.
    assert len(merges) == len(tokenizer.ranks) - 256
