"""One of two processes of test_families.py: FOLDER HF_DIRECTORY…"""

import sys
from pathlib import Path

from two_processes import in_each

from qwen_shared.backend.quick_import import quick_import

with quick_import():
    import torch

    from qwen_shared.convert.families import read_model
    from qwen_shared.convert.import_hf import hf_source
    from qwen_shared.recipe import PretrainRecipe, check_layout
    from qwen_shared.training.engine import Engine
    from qwen_shared.training.saving import save_checkpoint

LAYOUTS = {"tensor": {"tensor_parallel": 2}, "pipeline": {"pipeline_parallel": 2}}


def main() -> None:
    folder, directories = Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]]
    tokens = torch.randint(0, 8192, (2, 48), generator=torch.Generator().manual_seed(1))
    for layout, parallel, processes in in_each(LAYOUTS):
        for directory in directories:
            target = folder / layout / directory.name
            if processes.rank == 0:
                target.mkdir(parents=True)
            model = read_model(directory)
            recipe = PretrainRecipe.model_validate(
                {
                    "name": "x",
                    "model": model.model_dump(),
                    "data": {"sources": "stdlib", "seq_length": 48},
                    "parallel": parallel,
                    "training": {"steps": 1, "global_batch_size": 2},
                    "optimizer": {"lr": 1e-3},
                    "checkpoint": {"interval": 1},
                    "evaluation": {"interval": 1},
                }
            )
            engine = Engine(
                recipe, check_layout(recipe, 2), processes, "fp32", model.padded_vocab_size, hf_source(directory)
            )
            logits = engine.logits(tokens)
            if processes.rank == 0:
                torch.save(logits, target / "logits.pt")
            save_checkpoint(target, 1, engine, {"step": 1, "world_size": 2})


if __name__ == "__main__":
    main()
