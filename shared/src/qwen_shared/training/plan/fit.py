"""Suggests settings with which a run fits into a rank's memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from qwen_shared.errors import UserError
from qwen_shared.recipe import Layout, Recipe, check_layout

_MOST_RANKS = 4096
_WORTH_WHILE = 0.97  # a setting must bring the needed memory below this share
Need = Callable[[Recipe, Layout], float]  # bytes that a rank needs


@dataclass(frozen=True)
class Suggestion:
    change: dict[str, int | str | bool]  # recipe keys, and "--nproc" per host if more processes are needed
    bytes: int  # that a rank then needs
    fits: bool

    def __str__(self) -> str:
        def shown(value: int | str | bool) -> str:
            return str(value).lower() if isinstance(value, bool) else str(value)

        return " ".join(
            f"{key} {shown(value)}" if key.startswith("--") else f"{key}={shown(value)}"
            for key, value in self.change.items()
        )


def suggest(recipe: Recipe, layout: Layout, need: Need, capacity: float, nodes: int = 1) -> list[Suggestion]:
    """Changes after which a rank needs at most `capacity`: single settings, the cheapest in speed first; if none is
    enough, several settings together; if these are not, the nearest. The number of hosts, `nodes`, stays."""
    alone = [best for knob in _KNOBS if (best := _first_that_fits(recipe, layout, need, capacity, nodes, [knob]))]
    if any(suggestion.fits for suggestion in alone):
        return [suggestion for suggestion in alone if suggestion.fits]
    together = _first_that_fits(recipe, layout, need, capacity, nodes, _KNOBS)
    return [together] if together else []


def _first_that_fits(
    recipe: Recipe, layout: Layout, need: Need, capacity: float, nodes: int, knobs: list[Callable]
) -> Suggestion | None:
    """Changes the settings of `knobs` one after another until the run fits."""
    change: dict[str, int | str | bool] = {}
    best: Suggestion | None = None
    now, ranks = recipe, layout.world_size
    for knob in knobs:
        for step in knob(now, ranks):
            tried = _changed(now, ranks, nodes, step)
            if tried is None:
                continue
            size = int(need(*tried))
            if best is not None and size > _WORTH_WHILE * best.bytes:
                continue
            now, ranks = tried[0], tried[1].world_size
            change |= step if ranks == layout.world_size else step | {"--nproc": ranks // nodes}
            best = Suggestion(dict(change), size, size <= capacity)
            if best.fits:
                return best
    return best


def _changed(recipe: Recipe, ranks: int, nodes: int, step: dict[str, int | str | bool]) -> tuple[Recipe, Layout] | None:
    """The recipe after a change, on more processes if the layout needs them; None if the change is not valid."""
    tree = recipe.model_dump(mode="json")
    for key, value in step.items():
        if key != "--nproc":
            section, _, name = key.partition(".")
            tree[section][name] = value
    try:
        changed = type(recipe).model_validate(tree)
    except ValidationError:
        return None
    parallel = changed.parallel
    smallest = math.lcm(parallel.tensor_parallel * parallel.pipeline_parallel * parallel.context_parallel, nodes)
    ranks = max(int(step.get("--nproc", ranks)), smallest)
    try:
        return changed, check_layout(changed, -(-ranks // smallest) * smallest)
    except UserError:
        return None


def _micro_batch(recipe: Recipe, ranks: int) -> Iterator[dict]:
    size = recipe.training.micro_batch_size
    yield from ({"training.micro_batch_size": n} for n in range(size // 2, 0, -1) if not size % n)


def _sequence_parallel(recipe: Recipe, ranks: int) -> Iterator[dict]:
    if recipe.parallel.tensor_parallel > 1 and not recipe.parallel.sequence_parallel:
        yield {"parallel.sequence_parallel": True}


def _recompute(recipe: Recipe, ranks: int) -> Iterator[dict]:
    order = ("none", "selective", "full")
    yield from ({"parallel.recompute": name} for name in order[order.index(recipe.parallel.recompute) + 1 :])


def _tensor_parallel(recipe: Recipe, ranks: int) -> Iterator[dict]:
    size = recipe.parallel.tensor_parallel
    for tp in (2, 4, 8):  # within a machine
        if tp > size:
            yield {"parallel.tensor_parallel": tp, "parallel.sequence_parallel": True}


def _pipeline_parallel(recipe: Recipe, ranks: int) -> Iterator[dict]:
    layers, size = recipe.model.num_layers, recipe.parallel.pipeline_parallel
    yield from ({"parallel.pipeline_parallel": pp} for pp in range(size + 1, layers + 1) if not layers % pp)


def _context_parallel(recipe: Recipe, ranks: int) -> Iterator[dict]:
    size = recipe.parallel.context_parallel
    yield from ({"parallel.context_parallel": cp} for cp in (2, 4, 8) if cp > size)


def _processes(recipe: Recipe, ranks: int) -> Iterator[dict]:
    """More data-parallel ranks share the optimizer's state."""
    while (ranks := 2 * ranks) <= _MOST_RANKS:
        yield {"--nproc": ranks}


# The cheapest in speed first; the last ones need more processes or communication.
_KNOBS: list[Callable[[Recipe, int], Iterator[dict]]] = [
    _micro_batch,
    _sequence_parallel,
    _recompute,
    _tensor_parallel,
    _pipeline_parallel,
    _processes,
    _context_parallel,
]
