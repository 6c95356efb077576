"""Documents in a packed sample that must not attend to each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Documents:
    """Where the documents of a micro-batch [B, S] lie; its rows are concatenated to T = B·S tokens."""

    positions: Tensor  # int64 [B, S]: each token's position in its document, from 0
    cu_seqlens: Tensor  # int32 [documents + 1]: cumulative lengths, from 0 to T
    lengths: tuple[int, ...]  # of each document

    qkv_format = "sbhd"  # Megatron passes this object through the layers as `packed_seq_params` and reads this

    @classmethod
    def from_tokens(cls, tokens: np.ndarray, eod_id: int, device: torch.device) -> Documents:
        """From tokens [B, S]: a document starts with each row and after each `eod_id`."""
        begins = np.ones(tokens.shape, dtype=bool)
        begins[:, 1:] = tokens[:, :-1] == eod_id
        return cls.from_starts(begins, device)

    @classmethod
    def from_starts(cls, begins: np.ndarray, device: torch.device) -> Documents:
        """From bool [B, S]: true at each document's first token, which includes each row's first."""
        B, S = begins.shape
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=B * S)
        positions = np.arange(B * S) - np.repeat(starts, lengths)
        return cls(
            torch.from_numpy(positions.reshape(B, S)).to(device, non_blocking=True),
            torch.from_numpy(np.append(starts, B * S).astype(np.int32)).to(device, non_blocking=True),
            tuple(lengths.tolist()),
        )
