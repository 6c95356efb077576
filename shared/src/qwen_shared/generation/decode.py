"""Batched sampling with a KV cache, on transformers' own `generate`."""

from __future__ import annotations

import torch

from qwen_shared.backend import device
from qwen_shared.tokenizer import Tokenizer


@torch.no_grad()
def generate(
    model,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    max_new_tokens: int,
    temperature: float,
    seed: int,
    top_p: float = 1.0,
) -> list[list[int]]:
    """New token ids for each prompt, up to and without the first stop id. `temperature` 0 is greedy.

    Prompts are filled up on the left. Ids past the tokenizer's (padded vocabulary rows) are never drawn.
    """
    torch.manual_seed(seed)
    longest = max(map(len, prompts))
    pad = tokenizer.pad_id
    tokens = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=device())  # [B, S]
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device())
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
    out = model.generate(
        tokens,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(tokenizer.stop_ids),
        pad_token_id=pad,
        suppress_tokens=list(range(tokenizer.vocab_size, model.config.vocab_size)) or None,
        **(sampling or {"do_sample": False}),
    )
    return [_until_stop(row[longest:].tolist(), tokenizer.stop_ids) for row in out]


def _until_stop(ids: list[int], stop_ids: tuple[int, ...]) -> list[int]:
    for i, token in enumerate(ids):
        if token in stop_ids:
            return ids[:i]
    return ids
