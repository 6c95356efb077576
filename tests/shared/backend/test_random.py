"""Random states: what is restored draws again what was drawn."""

import random

import numpy as np
import torch

from qwen_shared.backend import capture_rng, restore_rng, seed_everything


def _draw() -> list:
    from megatron.core.tensor_parallel import get_cuda_rng_tracker

    with get_cuda_rng_tracker().fork():
        inside = torch.rand(3).tolist()
    return [random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist(), inside]


def test_restored_states_draw_the_same(megatron):
    seed_everything(7)
    _draw()
    state = capture_rng()
    first = _draw()
    assert _draw() != first
    restore_rng(state)
    assert _draw() == first


def test_seeds_decide(megatron):
    seed_everything(7)
    first = _draw()
    seed_everything(8)
    assert _draw() != first
    seed_everything(7)
    assert _draw() == first
