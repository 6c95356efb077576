"""A small engine, and a global batch with very uneven masks."""

from functools import partial

import pytest
import torch

MODEL = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "ffn_hidden_size": 48}


def _engine(processes, micro: int = 8, precision: str = "fp32", **sections):
    """`sections` (model, data, optimizer, parallel) add to those of the recipe."""
    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import PretrainRecipe, check_layout
    from qwen_shared.training.engine import Engine

    tree = {
        "name": "x",
        "model": MODEL | sections.get("model", {}),
        "data": {"sources": "stdlib", "seq_length": 16} | sections.get("data", {}),
        "training": {"steps": 9, "global_batch_size": 8, "micro_batch_size": micro} | sections.get("training", {}),
        "optimizer": {"lr": 1e-2} | sections.get("optimizer", {}),
        "parallel": sections.get("parallel", {}),
        "checkpoint": {"interval": 1},
        "evaluation": {"interval": 1},
    }
    recipe = PretrainRecipe.model_validate(tree)
    weights = random_source(5, 2, 0.1, torch.device("cpu"))
    return Engine(recipe, check_layout(recipe, 1), processes, precision, 64, weights)


def _batches(size: int):
    """8 samples with very uneven masks, `size` at a time."""
    from qwen_shared.training.engine import MicroBatch

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 64, (8, 17), generator=generator)
    mask = (torch.rand(8, 16, generator=generator) < torch.linspace(0.05, 1, 8)[:, None]).float()
    for i in range(0, 8, size):
        rows = tokens[i : i + size]
        yield MicroBatch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), mask[None, i : i + size])


@pytest.fixture
def make_engine(megatron):
    """make_engine(micro=…, precision=…, model={…}, data={…}, optimizer={…}, parallel={…})"""
    return partial(_engine, megatron)


@pytest.fixture
def batches():
    """batches(size): the micro-batches of one global batch of 8, `size` samples each."""
    return _batches
