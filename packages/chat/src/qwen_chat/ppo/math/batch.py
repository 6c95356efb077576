"""Responses of different lengths as one batch, and as rows that a causal model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """B prompts with a response each, and the models' outputs before the step's first update.

    Padding may be on either side; a row's real tokens are contiguous. Column t of a [B, R] tensor belongs to response
    token t: its log-probability, and the value of the state before it. A response that ended includes its end token.
    Log-probabilities are of the whole distribution, by the same function as in the losses: a sampler's, after top-p or
    from another engine, would make the first ratio differ from 1.

    Raises ValueError if shapes disagree, or if a prompt or a response is empty (its score would reach no token).
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
        """Rows by index (int64) or mask (bool)."""
        return Rollout(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def align(self) -> Rollout:
        """Real tokens first, padding zero, no column of padding only.

        Rollouts that differ only in padding become bit-equal.
        """
        prompt_mask, prompts = _to_front(self.prompt_mask, self.prompts)
        names = ("responses", "logprobs", "reference_logprobs", "values")
        mask, *moved = _to_front(self.mask, *(getattr(self, name) for name in names))
        return replace(
            self, prompts=prompts, prompt_mask=prompt_mask, mask=mask, **dict(zip(names, moved, strict=True))
        )


@dataclass(frozen=True)
class Rows:
    """Prompts joined to their responses without padding between them: the input of the models."""

    input_ids: Tensor  # [B, S] int64, padded with 0 on the right: causal attention never sees it
    attention_mask: Tensor  # [B, S] bool
    columns: Tensor  # [B, R] int64: the column that predicts response token t, one before its own

    def of_responses(self, outputs: Tensor) -> Tensor:
        """Picks [B, R, …] from a model's outputs at every token, [B, S, …]. Differentiable; arbitrary at padding."""
        return outputs[torch.arange(len(outputs), device=outputs.device)[:, None], self.columns]


def join(prompts: Tensor, prompt_mask: Tensor, responses: Tensor, mask: Tensor) -> Rows:
    """Rows from tensors as in `Rollout`: S is the longest prompt and response together."""
    both = torch.cat((prompt_mask, mask), dim=1)  # [B, P + R]
    columns = both.cumsum(1)[:, prompts.shape[1] :] - 2  # a token's column is its rank - 1
    attention_mask, input_ids = _to_front(both, torch.cat((prompts, responses), dim=1))
    return Rows(input_ids, attention_mask, columns.masked_fill(~mask, 0))


def pad(rows: Sequence[Sequence[int]], side: Literal["left", "right"] = "right") -> tuple[Tensor, Tensor]:
    """Token ids as tensors [B, longest]: ids (int64, 0 at padding) and mask (bool).

    The mask comes from the lengths: an end token may have the padding's id.
    """
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    at = torch.arange(int(lengths.max()))
    mask = at < lengths if side == "right" else at >= len(at) - lengths
    ids = torch.zeros(mask.shape, dtype=torch.int64)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return ids, mask


def _to_front(mask: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Mask and tensors [B, any] with each row's real columns first, cut to the longest row."""
    order = (~mask).int().argsort(dim=1, stable=True)[:, : int(mask.sum(1).max())]
    front = mask.gather(1, order)
    return [front, *(tensor.gather(1, order).masked_fill(~front, 0) for tensor in tensors)]
