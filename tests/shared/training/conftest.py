"""A small engine, and a global batch with very uneven masks."""

from functools import partial

import pytest
import torch

MODEL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "ffn_hidden_size": 48}


def _engine(processes, **changes):
    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import PretrainRecipe, check_layout
    from qwen_shared.training.engine import Engine

    tree = {
        "name": "x",
        "model": MODEL,
        "data": {"sources": "stdlib", "seq_length": 16},
        "training": {"steps": 9, "global_batch_size": 8, "micro_batch_size": changes.pop("micro", 8)},
        "optimizer": {"lr": 1e-2} | changes.pop("optimizer", {}),
        "parallel": {"distributed_optimizer": changes.pop("distributed", False)},
        "checkpoint": {"interval": 1},
        "evaluation": {"interval": 1},
    }
    recipe = PretrainRecipe.model_validate(tree)
    precision = changes.pop("precision", "fp32")
    weights = random_source(5, 2, 0.1, torch.device("cpu"))
    return Engine(recipe, check_layout(recipe, 1), processes, precision, 64, weights)


def _batches(size: int):
    """8 samples with very uneven masks, `size` at a time."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 64, (8, 17), generator=generator)
    mask = (torch.rand(8, 16, generator=generator) < torch.linspace(0.05, 1, 8)[:, None]).float()
    for i in range(0, 8, size):
        rows = tokens[i : i + size]
        yield {
            "tokens": rows[:, :-1].contiguous(),
            "labels": rows[:, 1:].contiguous(),
            "masks": mask[None, i : i + size],
        }


@pytest.fixture
def make_engine(megatron):
    """make_engine(micro=…, precision=…, distributed=…, optimizer={…})"""
    return partial(_engine, megatron)


@pytest.fixture
def batches():
    """batches(size): the micro-batches of one global batch of 8, `size` samples each."""
    return _batches
