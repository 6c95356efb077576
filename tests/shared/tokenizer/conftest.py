import pytest

from qwen_shared.tokenizer import QwenTokenizer, load_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> QwenTokenizer:
    return load_tokenizer("default")


@pytest.fixture(scope="session")
def hf_directory(tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("hf")
    tokenizer.save_hf(directory)
    return directory


@pytest.fixture(scope="session")
def hf(hf_directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(hf_directory)
