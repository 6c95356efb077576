"""Documents that share a packed sample and must not see each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Documents:
    """Where the documents of a micro-batch [B, S] lie, its rows taken one after the other as T = B·S tokens."""

    positions: Tensor  # int64 [B, S]: each token's place in its document, from 0
    cu_seqlens: Tensor  # int32 [documents + 1]: cumulative lengths, from 0 to T
    lengths: tuple[int, ...]  # the same as plain numbers

    # Megatron hands this object on from layer to layer as its `packed_seq_params`, and asks it this:
    qkv_format = "sbhd"

    @classmethod
    def from_tokens(cls, tokens: np.ndarray, eod_id: int, device: torch.device) -> Documents:
        """From tokens [B, S]: a row begins a document, and so does whatever follows an `eod_id`."""
        begins = np.ones(tokens.shape, dtype=bool)
        begins[:, 1:] = tokens[:, :-1] == eod_id
        return cls.from_starts(begins, device)

    @classmethod
    def from_starts(cls, begins: np.ndarray, device: torch.device) -> Documents:
        """From bool [B, S]: where documents begin; the first place of each row is one."""
        B, S = begins.shape
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=B * S)
        positions = np.arange(B * S) - np.repeat(starts, lengths)
        return cls(
            torch.from_numpy(positions.reshape(B, S)).to(device, non_blocking=True),
            torch.from_numpy(np.append(starts, B * S).astype(np.int32)).to(device, non_blocking=True),
            tuple(lengths.tolist()),
        )
