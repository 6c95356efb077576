"""From prompts to responses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from qwen_chat.ppo.math.batch import pad
from qwen_chat.ppo.prompts import Query
from qwen_shared.generation.decode import generate
from qwen_shared.generation.sampling import Completion, Sampling
from qwen_shared.generation.vllm_backend import VllmGenerator
from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True)
class Responses:
    """Queries, one per response, and response ids with the end token if sampled."""

    queries: list[Query]
    ids: list[list[int]]
    ended: list[bool]
    texts: list[str]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prompts, their mask, responses, their mask."""
        return (*pad([query.ids for query in self.queries], "left"), *pad(self.ids))

    def rows(self) -> list[list[int]]:
        return [query.ids + ids for query, ids in zip(self.queries, self.ids, strict=True)]


class Sampler:
    """Samples from the policy, or (`rounded`) from a bf16 copy that `sync_weights` updates."""

    def __init__(self, lm: nn.Module, tokenizer: Tokenizer, rounded: bool):
        self._lm, self._tokenizer = lm, tokenizer
        self._copy = copy.deepcopy(lm).to(torch.bfloat16).requires_grad_(False) if rounded else None
        self.alive: Callable[[], None] = lambda: None  # called wherever there is progress

    @torch.no_grad()
    def sync_weights(self) -> None:
        if self._copy is not None:
            for ours, theirs in zip(self._copy.parameters(), self._lm.parameters(), strict=True):
                ours.copy_(theirs)

    def __call__(self, queries: list[Query], sampling: Sampling) -> Responses:
        lm = self._lm if self._copy is None else self._copy
        training = lm.training
        prompts = [query.ids for query in queries]
        completions = generate(lm.eval(), self._tokenizer, prompts, sampling, progress=lambda *_: self.alive())
        lm.train(training)
        return _responses(queries, completions, self._tokenizer)


class VllmSampler:
    def __init__(self, lm: nn.Module, tokenizer: Tokenizer, start: Path, memory_share: float):
        self._lm, self._tokenizer = lm, tokenizer
        self._generate = VllmGenerator(start, tokenizer, memory_share)
        self.alive: Callable[[], None] = lambda: None

    @torch.no_grad()
    def sync_weights(self) -> None:
        self._generate.load_weights(self._lm.named_parameters())

    def __call__(self, queries: list[Query], sampling: Sampling) -> Responses:
        self.alive()
        completions = self._generate([query.ids for query in queries], sampling)
        self.alive()
        return _responses(queries, completions, self._tokenizer)


def _responses(queries: list[Query], completions: list[Completion], tokenizer: Tokenizer) -> Responses:
    ids = [c.ids + ([] if c.stop_id is None else [c.stop_id]) for c in completions]
    texts = [tokenizer.decode(c.ids) for c in completions]
    return Responses(queries, ids, [c.stop_id is not None for c in completions], texts)
