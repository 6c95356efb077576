"""A saved reward model and tokenizer pad with an id that ends no answer."""

from transformers import AutoTokenizer

from qwen_chat.reward.padding import PaddedBy, padding_id
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


def test_the_end_of_an_answer_does_not_pad():
    end = TOKENIZER.stop_ids[0]
    assert padding_id(TOKENIZER, end) == TOKENIZER.pad_id
    other = padding_id(TOKENIZER, TOKENIZER.pad_id)
    assert other != TOKENIZER.pad_id
    assert other in TOKENIZER.special_tokens.values()


def test_the_saved_tokenizer_says_so(tmp_path):
    for name, pad_id in (("own", TOKENIZER.pad_id), ("other", TOKENIZER.special_tokens["<|extra_3|>"])):
        PaddedBy(TOKENIZER, pad_id).save_hf(tmp_path / name)
        found = AutoTokenizer.from_pretrained(tmp_path / name)
        assert found.pad_token_id == pad_id
        assert load_tokenizer(str(tmp_path / name)).fingerprint == TOKENIZER.fingerprint
