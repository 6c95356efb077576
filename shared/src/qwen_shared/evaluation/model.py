"""Answers and log-likelihoods of a model that is loaded when first needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.generation import decode, score
from qwen_shared.generation.sampling import Generate
from qwen_shared.generation.score import LogLikelihoods
from qwen_shared.tokenizer import Tokenizer


class AskedModel:
    """The model in a Hugging Face directory."""

    def __init__(self, directory: Path, tokenizer: Tokenizer, batch_size: int | None = None):
        self.directory, self.tokenizer, self._batch_size = directory, tokenizer, batch_size

    @cached_property
    def weights(self) -> str:
        return weights_hash(self.directory)

    @cached_property
    def generate(self) -> Generate:
        self.__dict__.pop("log_likelihoods", None)  # frees memory: vLLM takes the whole GPU
        return decode.load_generator(self.directory, self.tokenizer, self._batch_size)

    @cached_property
    def log_likelihoods(self) -> LogLikelihoods:
        return score.load_log_likelihoods(self.directory)
