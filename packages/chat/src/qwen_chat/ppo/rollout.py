"""From prompts to responses."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qwen_chat.ppo.batch import pad
from qwen_chat.prompts import Query
from qwen_shared.generation.decode import generate
from qwen_shared.generation.sampling import Sampling
from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True)
class Responses:
    """Queries, each as often as it was answered, and the answers' ids, with the end token where one was drawn."""

    queries: list[Query]
    ids: list[list[int]]
    ended: list[bool]
    texts: list[str]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prompts, their mask, responses, their mask: as in `Rollout`."""
        return (*pad([query.ids for query in self.queries], "left"), *pad(self.ids))

    def rows(self) -> list[list[int]]:
        """Prompt and response together, as a reward model reads them."""
        return [query.ids + ids for query, ids in zip(self.queries, self.ids, strict=True)]


class Sampler:
    """The policy as it is drawn from. Where its weights are fp32 and the machine multiplies bf16 faster, a rounded copy
    that `follow` brings up to date: what the sampler thought a token's probability was is used nowhere."""

    def __init__(self, lm: nn.Module, tokenizer: Tokenizer, rounded: bool):
        self._lm, self._tokenizer = lm, tokenizer
        self._copy = copy.deepcopy(lm).to(torch.bfloat16).requires_grad_(False) if rounded else None

    @torch.no_grad()
    def follow(self) -> None:
        if self._copy is not None:
            for ours, theirs in zip(self._copy.parameters(), self._lm.parameters(), strict=True):
                ours.copy_(theirs)

    def __call__(self, queries: list[Query], sampling: Sampling) -> Responses:
        """An answer to each query."""
        lm = self._lm if self._copy is None else self._copy
        training = lm.training
        completions = generate(lm.eval(), self._tokenizer, [query.ids for query in queries], sampling)
        lm.train(training)
        ids = [c.ids + ([] if c.stop_id is None else [c.stop_id]) for c in completions]
        texts = [self._tokenizer.decode(c.ids) for c in completions]
        return Responses(queries, ids, [c.stop_id is not None for c in completions], texts)


def queries_of(step: int, queries: list[Query], count: int, seed: int) -> list[Query]:
    """The `count` queries of a step (from 1): all of them in a new order, then all in another. Of the step alone, so
    that a resumed run asks what the unbroken one would have."""
    chosen: list[Query] = []
    first = (step - 1) * count
    while len(chosen) < count:
        at = first + len(chosen)
        epoch, within = divmod(at, len(queries))
        order = torch.randperm(len(queries), generator=torch.Generator().manual_seed(seed + epoch)).tolist()
        chosen += [queries[k] for k in order[within : within + count - len(chosen)]]
    return chosen
