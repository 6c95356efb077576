"""Samples during training, for people to read: the trainer's own forward, without a cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qwen_shared.recipe.schema import Evaluation
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.training.engine import Engine


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: list[int]
    stop_ids: tuple[int, ...]


def continue_prompts(
    engine: Engine, tokenizer: Tokenizer, prompts: list[Prompt], settings: Evaluation, seed: int
) -> list[dict[str, str]]:
    """{prompt, text} of each prompt; all ranks call."""
    if not prompts:
        return []
    generator = torch.Generator().manual_seed(seed)
    limit = engine.recipe.model.max_positions or engine.recipe.data.seq_length
    rows = [prompt.ids[-limit + 1 :] for prompt in prompts]
    lengths = [len(row) for row in rows]
    open_rows = set(range(len(rows)))
    for _ in range(settings.sample_tokens):
        longest = max(map(len, rows))
        if longest >= limit or not open_rows:
            break
        # Padding on the right cannot change the logits before it.
        batch = torch.tensor([row + [tokenizer.eod_id] * (longest - len(row)) for row in rows])
        logits = engine.logits(batch)[range(len(rows)), [len(row) - 1 for row in rows]]  # [B, V]
        chosen = _choose(logits[:, : tokenizer.vocab_size].cpu(), settings.temperature, generator)
        torch.distributed.broadcast(chosen, src=0)
        for i in sorted(open_rows):
            if chosen[i].item() in prompts[i].stop_ids:
                open_rows.discard(i)
            else:
                rows[i].append(int(chosen[i]))
    return [
        {"prompt": prompt.text, "text": tokenizer.decode(row[length:])}
        for prompt, row, length in zip(prompts, rows, lengths, strict=True)
    ]


def _choose(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """Token ids [B] drawn from logits [B, V]."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)[:, 0]
