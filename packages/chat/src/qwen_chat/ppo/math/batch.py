"""Responses of different lengths as one batch, and as rows that a causal model can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """B prompts, a response to each, and what the models said of it before the step's first update.

    Padding may stand on either side of prompts and responses; the real tokens of a row stand together. Column t of a
    [B, R] tensor is about response token t: the log-probability with which it was chosen, and the value of the state
    in which it was, that is, before it. A response that ended holds its end token, as the last real one.
    Log-probabilities are those of the whole distribution, by the same model and function as in the losses; a sampler's
    own, after top-p or from another engine, would make the first ratio differ from 1.

    Raises ValueError where shapes disagree, or a prompt or a response is empty: its score would reach no token.
    """

    prompts: Tensor  # [B, P] int64
    prompt_mask: Tensor  # [B, P] bool
    responses: Tensor  # [B, R] int64
    mask: Tensor  # [B, R] bool
    ended: Tensor  # [B] bool: with an end token; the others were truncated
    logprobs: Tensor  # [B, R] fp32, of the policy that drew the response
    reference_logprobs: Tensor  # [B, R] fp32
    values: Tensor  # [B, R] fp32
    scores: Tensor  # [B] fp32, of the reward model or function, raw

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
        """Some of the rows, by index (int64) or by mask (bool)."""
        return Rollout(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def align(self) -> Rollout:
        """The same in one form: real tokens first, padding zero, no column of padding only.

        Rollouts that differ in padding alone become bit-equal.
        """
        prompt_mask, prompts = _to_front(self.prompt_mask, self.prompts)
        names = ("responses", "logprobs", "reference_logprobs", "values")
        mask, *moved = _to_front(self.mask, *(getattr(self, name) for name in names))
        return replace(
            self, prompts=prompts, prompt_mask=prompt_mask, mask=mask, **dict(zip(names, moved, strict=True))
        )


@dataclass(frozen=True)
class Rows:
    """Prompts and their responses without padding between them: what the models read."""

    input_ids: Tensor  # [B, S] int64; padded with 0 on the right, where a causal model's real tokens do not see it
    attention_mask: Tensor  # [B, S] bool
    columns: Tensor  # [B, R] int64: where the model predicts response token t, one before where it stands

    def of_responses(self, outputs: Tensor) -> Tensor:
        """[B, R, …] of what a model put out at every token, [B, S, …]. Differentiable; arbitrary at padding."""
        return outputs[torch.arange(len(outputs), device=outputs.device)[:, None], self.columns]


def join(prompts: Tensor, prompt_mask: Tensor, responses: Tensor, mask: Tensor) -> Rows:
    """Rows from tensors as in `Rollout`: S = longest prompt and response together, whatever the padding."""
    both = torch.cat((prompt_mask, mask), dim=1)  # [B, P + R]
    columns = both.cumsum(1)[:, prompts.shape[1] :] - 2  # a token's place in its row is its rank - 1
    attention_mask, input_ids = _to_front(both, torch.cat((prompts, responses), dim=1))
    return Rows(input_ids, attention_mask, columns.masked_fill(~mask, 0))


def pad(rows: Sequence[Sequence[int]], side: Literal["left", "right"] = "right") -> tuple[Tensor, Tensor]:
    """Token ids as tensors [B, longest]: ids (int64, 0 at padding) and mask (bool).

    The mask comes from the lengths. To find padding by its id is a mistake where it is also an end token's.
    """
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    at = torch.arange(int(lengths.max()))
    mask = at < lengths if side == "right" else at >= len(at) - lengths
    ids = torch.zeros(mask.shape, dtype=torch.int64)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return ids, mask


def _to_front(mask: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Mask and tensors [B, any] with the real columns of every row first, in their order, and as few as they need."""
    order = (~mask).int().argsort(dim=1, stable=True)[:, : int(mask.sum(1).max())]
    front = mask.gather(1, order)
    return [front, *(tensor.gather(1, order).masked_fill(~front, 0) for tensor in tensors)]
