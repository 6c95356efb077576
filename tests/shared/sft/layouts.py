"""Fine-tuning on packed conversations in many layouts, and what its steps gave.

As a program, one of two processes of test_layouts.py: FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        import qwen_shared.sft.job  # noqa: F401 (all of Megatron, without torch's compiler)

SEQ_LENGTH, ROWS, END = 32, 128, 1
MODEL = {
    "num_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tied_embeddings": True,
    "ffn_hidden_size": 64,
}
LAYOUTS = {
    "data": {},
    "tensor": {"tensor_parallel": 2},
    "sequence": {"tensor_parallel": 2, "sequence_parallel": True, "recompute": "selective"},
    "pipeline": {"pipeline_parallel": 2},
}


def write_conversations(folder: Path) -> None:
    """200 of 3 to 40 random tokens with 1 to 6 in the loss; the longest must be left out."""
    from qwen_shared.data import TokenFileWriter

    with TokenFileWriter(folder / "tokens", np.int32) as writer:
        for i in range(200):
            draw = np.random.default_rng(i)
            ids = np.append(draw.integers(2, ROWS, draw.integers(2, 40)), END)
            answer = draw.integers(1, min(7, len(ids)))
            writer.add(np.concatenate((ids[:-answer], ~ids[-answer:])))


def results(processes, parallel: dict, folder: Path) -> dict:
    """Three steps and the loss of held-out conversations."""
    import torch

    from qwen_shared.data import BlendedDataset, TokenFile
    from qwen_shared.model.weights import random_source
    from qwen_shared.recipe import SftRecipe, check_layout
    from qwen_shared.sft.batches import ConversationBatches, held_out_loss
    from qwen_shared.sft.packing import PackedConversations
    from qwen_shared.training.engine import Engine

    recipe = SftRecipe.model_validate(
        {
            "name": "x",
            "model": MODEL,
            "data": {"sources": "nowhere.jsonl", "seq_length": SEQ_LENGTH},
            "parallel": parallel,
            "training": {"steps": 9, "global_batch_size": 8, "micro_batch_size": 2},
            "optimizer": {"lr": 1e-2},
            "checkpoint": {"interval": 1},
            "evaluation": {"interval": 1},
        }
    )
    layout = check_layout(recipe, processes.world_size)
    engine = Engine(recipe, layout, processes, "fp32", ROWS, random_source(5, 2, 0.1, torch.device("cpu")))
    packed = PackedConversations(TokenFile(folder / "tokens"), SEQ_LENGTH, [END], 0, 0)
    batches = ConversationBatches(BlendedDataset([packed], [1.0], 0), layout, processes.data_rank, 8, 2)
    steps = [engine.train_step(batches.micro_batches(step), 1e-2) for step in (1, 2, 3)]
    return {
        "losses": [step.loss for step in steps],
        "tokens": [step.tokens for step in steps],
        "grad_norms": [step.grad_norm for step in steps],
        "held_out": list(held_out_loss(engine, [packed], None).values()),
        "some_held_out": list(held_out_loss(engine, [packed], 5 * SEQ_LENGTH).values()),  # not the same for all ranks
        "digests": [batches.digest(step) for step in (1, 2, 3)],
    }


def main() -> None:
    from two_processes import in_each

    folder = Path(sys.argv[1])
    for name, parallel, processes in in_each(LAYOUTS):
        told = results(processes, parallel, folder)
        (folder / f"{name}-{processes.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
