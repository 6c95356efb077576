"""How processes divide the work of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import RunRecipe, sequence_divisor


@dataclass(frozen=True)
class Layout:
    """world_size = tensor · context · pipeline · data."""

    world_size: int
    tensor_parallel: int
    context_parallel: int
    pipeline_parallel: int
    data_parallel: int
    num_microbatches: int  # forward passes per step and data-parallel rank
    sequence_divisor: int  # a sequence's length must be a multiple of this


ONE_PROCESS = Layout(1, 1, 1, 1, 1, num_microbatches=1, sequence_divisor=1)


def check_layout(recipe: RunRecipe, world_size: int) -> Layout:
    """Raises UserError if the recipe does not fit."""
    parallel = recipe.parallel
    tp, cp, pp = parallel.tensor_parallel, parallel.context_parallel, parallel.pipeline_parallel
    model_ranks = tp * cp * pp
    if world_size % model_ranks:
        sizes = f"parallel.tensor_parallel={tp} × parallel.pipeline_parallel={pp}"
        if cp > 1:
            sizes += f" × parallel.context_parallel={cp}"
        raise UserError(
            f"{sizes} needs a multiple of {model_ranks} processes, there are {world_size}: "
            f"start with --nproc {model_ranks * max(1, round(world_size / model_ranks))}"
        )
    dp = world_size // model_ranks
    per_pass = recipe.training.micro_batch_size * dp
    # The interleaved schedule takes micro-batches in rounds of `pp`.
    per_round = per_pass * (pp if parallel.virtual_pipeline > 1 else 1)
    if recipe.training.global_batch_size % per_round:
        rounds = f" × pipeline parallel = {recipe.training.micro_batch_size} × {dp} × {pp} (virtual_pipeline)"
        passes = f" = {recipe.training.micro_batch_size} × {dp}"
        raise UserError(
            f"training.global_batch_size={recipe.training.global_batch_size} is not a multiple of "
            f"micro_batch_size × data parallel{rounds if per_round > per_pass else passes}; "
            f"nearest: {max(1, round(recipe.training.global_batch_size / per_round)) * per_round}"
        )
    num_microbatches = recipe.training.global_batch_size // per_pass
    return Layout(world_size, tp, cp, pp, dp, num_microbatches, sequence_divisor(parallel))
