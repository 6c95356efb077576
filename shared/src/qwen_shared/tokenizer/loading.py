"""From a recipe's `tokenizer` key to a tokenizer."""

import importlib.util
from functools import cache
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.tokenizer.interface import Tokenizer
from qwen_shared.tokenizer.qwen import QwenTokenizer
from qwen_shared.tokenizer.vocabulary import read_ranks

RANKS_FILE = "qwen.tiktoken"  # save_hf leaves it beside tokenizer.json
DEFAULT_RANKS = Path(__file__).with_name("default.tiktoken")


def load_tokenizer(source: str) -> Tokenizer:
    """The tokenizer that ``source`` names.

    "default": the embedded vocabulary of 8,192 ids. "dashscope": Qwen's own, from the installed dashscope package.
    A path: a `.tiktoken` file, a directory that ``save_hf`` wrote, or a run directory with such an `export/`.
    Raises UserError where there is no such file or the file is broken.
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
        raise UserError(f"tokenizer: the directory {source} has no {RANKS_FILE}; was it written by an export?")
    raise UserError(f"tokenizer: no such file or directory: {source}; it may be 'default', 'dashscope' or a path")


@cache
def _default() -> QwenTokenizer:
    return QwenTokenizer(read_ranks(DEFAULT_RANKS), "default")


def _dashscope_ranks() -> Path:
    # Found without importing the package, which would bring its whole HTTP client.
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
