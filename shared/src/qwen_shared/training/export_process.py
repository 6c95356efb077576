"""`python -m qwen_shared.training.export_process RUN STEP TARGET`: an export in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from qwen_shared.backend import start_processes, stop_processes
from qwen_shared.backend.quick_import import quick_import
from qwen_shared.recipe import PretrainRecipe, load_recipe


def main() -> None:
    run_dir, step, target = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    with quick_import():
        from qwen_shared.training.export import export_run

    recipe = load_recipe(PretrainRecipe, str(run_dir / "recipe.yaml"), [], run_dir)
    start_processes()
    export_run(run_dir, recipe, step, target)
    stop_processes()


if __name__ == "__main__":
    main()
