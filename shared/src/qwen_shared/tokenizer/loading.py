"""Loads the tokenizer that a recipe names."""

import importlib.util
from functools import cache
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.tokenizer.hf import HfTokenizer
from qwen_shared.tokenizer.hf_files import TOKENIZER_FILE, TokenizerFiles
from qwen_shared.tokenizer.interface import Tokenizer
from qwen_shared.tokenizer.qwen import QwenTokenizer
from qwen_shared.tokenizer.vocabulary import RANKS_FILE, read_ranks

# Formats that transformers can convert to tokenizer.json.
_OTHER_FILES = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.bpe", "merges.txt", "vocab.txt")
DEFAULT_RANKS = Path(__file__).with_name("default.tiktoken")


def load_tokenizer(source: str) -> Tokenizer:
    """The tokenizer that `source` names.

    - "default": the embedded vocabulary of 8,192 ids
    - "dashscope": Qwen's vocabulary, from the installed dashscope package
    - a `.tiktoken` file, a directory with `qwen.tiktoken` or `tokenizer.json`, or a run directory with an `export/`

    Raises UserError if there is no such file or it is broken.
    """
    source = str(source)
    if source == "default":
        return _default()
    if source == "dashscope":
        return QwenTokenizer(read_ranks(_dashscope_ranks()), "qwen")
    path = Path(source).expanduser()
    if path.is_file():
        return QwenTokenizer(read_ranks(path), path.stem)
    if path.is_dir():
        for directory in (path, path / "export"):
            if (directory / RANKS_FILE).is_file():
                return QwenTokenizer(read_ranks(directory / RANKS_FILE), path.name)
            if (directory / TOKENIZER_FILE).is_file():
                return HfTokenizer(TokenizerFiles.read(directory, path.resolve().name))
        if other := next((file for file in _OTHER_FILES if (path / file).is_file()), None):
            raise UserError(
                f"tokenizer: the directory {source} has {other} but no {TOKENIZER_FILE}; to make one, run "
                f"`AutoTokenizer.from_pretrained({source!r}).save_pretrained({source!r})` with transformers"
            )
        neither = f"has no {RANKS_FILE} and no {TOKENIZER_FILE}"
        raise UserError(f"tokenizer: the directory {source} {neither}; was it written by an export?")
    raise UserError(f"tokenizer: no such file or directory: {source}; it may be 'default', 'dashscope' or a path")


@cache
def _default() -> QwenTokenizer:
    return QwenTokenizer(read_ranks(DEFAULT_RANKS), "default")


def _dashscope_ranks() -> Path:
    # Importing the package would load its HTTP client.
    spec = importlib.util.find_spec("dashscope")
    for directory in (spec.submodule_search_locations if spec else None) or ():
        path = Path(directory) / "resources" / RANKS_FILE
        if path.is_file():
            return path
    found = "has no resources/qwen.tiktoken" if spec else "is not installed"
    raise UserError(
        f"tokenizer: the dashscope package {found}; run `uv pip install dashscope`, "
        "or give the path of a qwen.tiktoken file"
    )
