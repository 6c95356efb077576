"""Loss of held-out text and log-likelihoods of continuations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from qwen_shared.backend import device
from qwen_shared.data import ValidationText
from qwen_shared.generation.decode import load_decoder
from qwen_shared.generation.sampling import Progress

_TOKENS_AT_ONCE = 8192

Pair = tuple[Sequence[int], Sequence[int]]  # prompt and continuation, as ids
# Per continuation; None if it exceeds the model's positions.
LogLikelihoods = Callable[[Sequence[Pair], Progress | None], list[float | None]]


@torch.no_grad()
def score_text(
    model,
    text: ValidationText,
    isolate_documents: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """loss (nats per token, masked as in training), perplexity, bits_per_byte (over every token), as in validation.
    `progress(done, total)` counts windows."""
    sums = torch.zeros(2, 2, dtype=torch.float64)
    size = max(1, _TOKENS_AT_ONCE // text.seq_length)
    for first in range(0, text.num_windows, size):
        windows = [text.window(j) for j in range(first, min(first + size, text.num_windows))]
        tokens, labels, loss_mask, all_mask = (
            torch.from_numpy(np.stack(column)).to(device()) for column in zip(*windows, strict=True)
        )
        # Without a cache, transformers isolates documents whose positions restart.
        positions = {"position_ids": _positions(tokens, text.eod_id), "use_cache": False} if isolate_documents else {}
        logits = model(tokens, **positions).logits.float()  # [B, S, V]
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        masks = torch.stack((loss_mask, all_mask))  # [2, B, S]
        sums += torch.stack(((losses * masks).sum((1, 2)), masks.sum((1, 2)))).double().cpu()
        if progress:
            progress(first + len(windows), text.num_windows)
    (loss, every), (tokens, _) = sums.tolist()
    return {
        "loss": loss / tokens,
        "perplexity": math.exp(min(loss / tokens, 700.0)),
        "bits_per_byte": every / math.log(2) / text.num_bytes,
    }


def load_log_likelihoods(directory: Path) -> LogLikelihoods:
    """Raises UserError if there is no model."""
    model = load_decoder(directory)
    return partial(log_likelihoods, model)


@torch.inference_mode()
def log_likelihoods(model, pairs: Sequence[Pair], progress: Progress | None = None) -> list[float | None]:
    r"""Sums of log p(continuation | prompt) in nats, in the order of the pairs.

    Raises ValueError for an empty prompt or continuation.
    """
    if not all(prompt and continuation for prompt, continuation in pairs):
        raise ValueError("a prompt and a continuation need at least one token each")
    positions = getattr(model.config, "max_position_embeddings", None) or 2**62
    # The last token is only predicted. Equal inputs (choices of one token) are computed once.
    rows: dict[tuple[int, ...], list[int]] = {}
    for i, (prompt, continuation) in enumerate(pairs):
        rows.setdefault((*prompt, *continuation[:-1]), []).append(i)
    waiting = sorted((row for row in rows if len(row) < positions), key=lambda row: (-len(row), row))
    found: list[float | None] = [None] * len(pairs)
    done = sum(len(of_row) for row, of_row in rows.items() if len(row) >= positions)
    while waiting:
        size = max(1, _TOKENS_AT_ONCE // len(waiting[0]))
        batch, waiting = waiting[:size], waiting[size:]
        longest = len(batch[0])
        kept = max(len(pairs[i][1]) for row in batch for i in rows[row])
        # Left padding: continuations end in one column, and only their logits are computed.
        tokens = torch.tensor([[0] * (longest - len(row)) + list(row) for row in batch], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch], device=model.device)
        logits = model(
            tokens,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=kept,
        ).logits  # [B, S, V]
        shares = logits.float().log_softmax(dim=-1)
        for place, row in enumerate(batch):
            for i in rows[row]:
                ids = torch.tensor(list(pairs[i][1]), device=model.device)
                found[i] = float(shares[place, -len(ids) :].gather(1, ids[:, None]).double().sum())
            done += len(rows[row])
        if progress:
            progress(done, len(pairs))
    return found


def _positions(tokens: torch.Tensor, eod_id: int) -> torch.Tensor:
    """Each token's position in its document [B, S]."""
    at = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    begins = torch.zeros_like(at)
    begins[:, 1:] = torch.where(tokens[:, :-1] == eod_id, at[:, 1:], 0)
    return at - begins.cummax(dim=1).values
