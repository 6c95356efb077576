"""Responses of different lengths as one batch, and as rows for a causal model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """B prompts with a response each, before the step's first update.

    Padding may be on either side of contiguous tokens. Column t of [B, R] is about response token t: its
    log-probability, and the value of the state before it. Log-probabilities use the same function as the losses, not
    the sampler's (after top-p, or of another engine), so that the first ratio is 1. Raises ValueError if shapes
    disagree, or if a prompt or a response is empty.
    """

    prompts: Tensor  # [B, P] int64
    prompt_mask: Tensor  # [B, P] bool
    responses: Tensor  # [B, R] int64
    mask: Tensor  # [B, R] bool
    ended: Tensor  # [B] bool: has an end token; false: truncated
    logprobs: Tensor  # [B, R] fp32, of the policy that sampled it
    reference_logprobs: Tensor  # [B, R] fp32
    values: Tensor  # [B, R] fp32
    scores: Tensor  # [B] fp32, raw, from reward model and functions

    def __post_init__(self) -> None:
        rows = self.mask.shape[:1]
        for names, shape in (
            (("prompts", "prompt_mask"), (*rows, self.prompts.shape[-1])),
            (("responses", "logprobs", "reference_logprobs", "values"), tuple(self.mask.shape)),
            (("ended", "scores"), tuple(rows)),
        ):
            for name in names:
                if tuple(getattr(self, name).shape) != shape:
                    raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}, expected {shape}")
        if not (self.prompt_mask.any(1) & self.mask.any(1)).all():
            raise ValueError("a prompt or a response has no token")

    def select(self, rows: Tensor) -> Rollout:
        return Rollout(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def align(self) -> Rollout:
        """Real tokens first, padding zero, no column of padding only: rollouts that differ in padding
        become bit-equal.
        """
        prompt_mask, prompts = _to_front(self.prompt_mask, self.prompts)
        names = ("responses", "logprobs", "reference_logprobs", "values")
        mask, *moved = _to_front(self.mask, *(getattr(self, name) for name in names))
        return replace(
            self, prompts=prompts, prompt_mask=prompt_mask, mask=mask, **dict(zip(names, moved, strict=True))
        )


@dataclass(frozen=True)
class Rows:
    """Prompts joined to their responses, without padding between them."""

    input_ids: Tensor  # [B, S] int64, padded with 0 on the right: causal attention never sees it
    attention_mask: Tensor  # [B, S] bool
    columns: Tensor  # [B, R] int64: the column that predicts response token t, one before its own

    def of_responses(self, outputs: Tensor) -> Tensor:
        """Picks [B, R, …] from outputs [B, S, …]. Differentiable; arbitrary at padding."""
        return outputs[torch.arange(len(outputs), device=outputs.device)[:, None], self.columns]


def join(prompts: Tensor, prompt_mask: Tensor, responses: Tensor, mask: Tensor) -> Rows:
    both = torch.cat((prompt_mask, mask), dim=1)  # [B, P + R]
    columns = both.cumsum(1)[:, prompts.shape[1] :] - 2  # a token's column is its rank - 1
    attention_mask, input_ids = _to_front(both, torch.cat((prompts, responses), dim=1))
    return Rows(input_ids, attention_mask, columns.masked_fill(~mask, 0))


def pad(rows: Sequence[Sequence[int]], side: Literal["left", "right"] = "right") -> tuple[Tensor, Tensor]:
    """Ids (int64, 0 at padding) and mask (bool), [B, longest]. Never find padding by id: an end token may share it."""
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    at = torch.arange(int(lengths.max()))
    mask = at < lengths if side == "right" else at >= len(at) - lengths
    ids = torch.zeros(mask.shape, dtype=torch.int64)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return ids, mask


def _to_front(mask: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Each row's real columns first, cut to the longest row."""
    order = (~mask).int().argsort(dim=1, stable=True)[:, : int(mask.sum(1).max())]
    front = mask.gather(1, order)
    return [front, *(tensor.gather(1, order).masked_fill(~front, 0) for tensor in tensors)]
