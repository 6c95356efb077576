"""What a recipe means on a given number of processes."""

from __future__ import annotations

from dataclasses import dataclass

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import PretrainRecipe


@dataclass(frozen=True)
class Layout:
    """How `world_size` processes divide the work: world = tensor · pipeline · data."""

    world_size: int
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    num_microbatches: int  # forward passes per step and data-parallel rank


def check_layout(recipe: PretrainRecipe, world_size: int) -> Layout:
    """Raises UserError where the recipe cannot run on `world_size` processes."""
    tp, pp = recipe.parallel.tensor_parallel, recipe.parallel.pipeline_parallel
    if world_size % (tp * pp):
        raise UserError(
            f"parallel.tensor_parallel={tp} × parallel.pipeline_parallel={pp} needs a multiple of {tp * pp} "
            f"processes, there are {world_size}: start with --nproc {tp * pp * max(1, round(world_size / (tp * pp)))}"
        )
    dp = world_size // (tp * pp)
    per_pass = recipe.training.micro_batch_size * dp
    if recipe.training.global_batch_size % per_pass:
        raise UserError(
            f"training.global_batch_size={recipe.training.global_batch_size} is not a multiple of "
            f"micro_batch_size × data parallel = {recipe.training.micro_batch_size} × {dp}; "
            f"nearest: {max(1, round(recipe.training.global_batch_size / per_pass)) * per_pass}"
        )
    return Layout(world_size, tp, pp, dp, recipe.training.global_batch_size // per_pass)
