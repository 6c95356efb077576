"""Batches of responses of different lengths."""

from types import SimpleNamespace

import pytest
import torch

from .layouts import LENGTHS, lay_out


@pytest.fixture
def ragged():
    """ragged(side=…, extra=…, …): the same numbers for the same seed in any layout."""

    def make(side="right", extra=0, fill=float("nan"), dtype=torch.float64, seed=0, lengths=LENGTHS):
        draw = torch.Generator().manual_seed(seed)

        def numbers(*shape):
            return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

        batch = SimpleNamespace(scores=numbers(len(lengths)), lengths=lengths)
        old = [numbers(n) - 3 for n in lengths]
        rows = {
            "old_logprobs": old,
            "logprobs": [row + 0.3 * numbers(len(row)) for row in old],
            "reference_logprobs": [row + 0.5 * numbers(len(row)) for row in old],
            "old_values": (old_values := [numbers(n) for n in lengths]),
            "values": [row + 0.2 * numbers(len(row)) for row in old_values],
            "advantages": [numbers(n) for n in lengths],
            "returns": [numbers(n) for n in lengths],
        }
        for name, each in rows.items():
            tensor, batch.mask = lay_out(each, side, extra, fill)
            setattr(batch, name, tensor)
        batch.tokens = sum(lengths)
        return batch

    return make
