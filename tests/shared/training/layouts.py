"""One run in many layouts: a model with everything that layouts make hard, and what its steps gave.

As a program, one of two processes of test_layouts.py: FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        import qwen_shared.training.pretrain  # noqa: F401 (all of Megatron, without torch's compiler)

SEQ_LENGTH, ROWS, EOD = 32, 256, 0
# Grouped queries, norms on heads, tied embeddings: each has a gradient that must be summed over ranks of its own.
MODEL = {
    "num_layers": 4,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "qkv_bias": False,
    "qk_norm": True,
    "tied_embeddings": True,
    "ffn_hidden_size": 64,
}
LAYOUTS = {
    "data": {},
    "tensor": {"tensor_parallel": 2},
    "sequence": {"tensor_parallel": 2, "sequence_parallel": True},
    "sequence, selective": {"tensor_parallel": 2, "sequence_parallel": True, "recompute": "selective"},
    "pipeline": {"pipeline_parallel": 2},
    "pipeline, full": {"pipeline_parallel": 2, "recompute": "full"},
    "virtual": {"pipeline_parallel": 2, "virtual_pipeline": 2},
    "virtual, selective": {"pipeline_parallel": 2, "virtual_pipeline": 2, "recompute": "selective"},
    "context": {"context_parallel": 2},
    "context, full": {"context_parallel": 2, "recompute": "full"},
}
SAVED_IN = "sequence"


class Stream:
    """Random documents, in place of a blend of token files."""

    def sample(self, k: int) -> np.ndarray:
        draw = np.random.default_rng(k)
        tokens = draw.integers(1, ROWS, SEQ_LENGTH + 1)
        return np.where(draw.random(SEQ_LENGTH + 1) < 0.1, EOD, tokens)


def results(processes, parallel: dict, folder: Path, saves: bool = False) -> dict:
    """Three steps and a validation, with documents together and isolated; then, where there is a checkpoint of step 2
    in `folder`, the step after it."""
    import torch

    from qwen_shared.training.checkpoint import load_checkpoint
    from qwen_shared.training.saving import save_checkpoint

    told = {}
    for isolate in (False, True):
        if isolate and parallel.get("context_parallel"):
            continue
        engine, batches = make(processes, parallel, isolate)
        steps = []
        for step in (1, 2, 3):
            steps.append(engine.train_step(batches.micro_batches(step), 1e-2))
            if saves and step == 2 and not isolate:
                save_checkpoint(folder, 2, engine, {"step": 2, "world_size": engine.layout.world_size})
        sums = engine.loss_sums(batches.micro_batches(4), engine.layout.num_microbatches)[:, 0].tolist()
        logits = engine.logits(torch.arange(7)[None])  # a length that no layout can cut evenly
        told["isolated" if isolate else "together"] = {
            "losses": [step.loss for step in steps],
            "grad_norms": [step.grad_norm for step in steps],
            "validation": sums,
            "logits": logits[0, -1, :8].tolist(),
        }
    if (folder / "step-00000002").exists():
        engine, batches = make(processes, parallel, False)
        load_checkpoint(folder, 2, engine)
        told["resumed"] = engine.train_step(batches.micro_batches(3), 1e-2).loss
    return told


def make(processes, parallel: dict, isolate: bool):
    import torch

    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import PretrainRecipe, check_layout
    from qwen_shared.training.batches import PackedBatches
    from qwen_shared.training.engine import Engine

    recipe = PretrainRecipe.model_validate(
        {
            "name": "x",
            "model": MODEL,
            "data": {"sources": "stdlib", "seq_length": SEQ_LENGTH, "isolate_documents": isolate},
            "parallel": parallel,
            "training": {"steps": 9, "global_batch_size": 8, "micro_batch_size": 2},
            "optimizer": {"lr": 1e-2},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
        }
    )
    layout = check_layout(recipe, processes.world_size)
    weights = random_source(5, MODEL["num_layers"], 0.1, torch.device("cpu"))
    engine = Engine(recipe, layout, processes, "fp32", ROWS, weights)
    return engine, PackedBatches(Stream(), EOD, layout, processes.data_rank, 8, 2, isolate)


def main() -> None:
    from two_processes import in_each

    folder = Path(sys.argv[1])
    for name, parallel, processes in in_each({SAVED_IN: LAYOUTS[SAVED_IN]} | LAYOUTS):
        told = results(processes, parallel, folder, saves=name == SAVED_IN)
        if processes.rank == 0:
            (folder / f"{name}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
