"""Loss, perplexity and bits per byte of held-out text under a model in Hugging Face form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from qwen_shared.backend import device
from qwen_shared.data import ValidationText

_TOKENS_AT_ONCE = 8192


@torch.no_grad()
def score_text(
    model,
    text: ValidationText,
    isolate_documents: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """loss (nats per token, masked as in training), perplexity, bits_per_byte (over every token), as in the trainer's
    validation. `progress(done, total)` counts windows."""
    sums = torch.zeros(2, 2, dtype=torch.float64)
    size = max(1, _TOKENS_AT_ONCE // text.seq_length)
    for first in range(0, text.num_windows, size):
        windows = [text.window(j) for j in range(first, min(first + size, text.num_windows))]
        tokens, labels, loss_mask, all_mask = (
            torch.from_numpy(np.stack(column)).to(device()) for column in zip(*windows, strict=True)
        )
        # transformers isolates documents whose positions restart, if it has no cache.
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


def _positions(tokens: torch.Tensor, eod_id: int) -> torch.Tensor:
    """Each token's position in its document: [B, S]."""
    at = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    begins = torch.zeros_like(at)
    begins[:, 1:] = torch.where(tokens[:, :-1] == eod_id, at[:, 1:], 0)
    return at - begins.cummax(dim=1).values
