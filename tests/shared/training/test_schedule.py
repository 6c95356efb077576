"""Learning rates: their borders, their shapes, and that only the step decides."""

import itertools

import pytest

from qwen_shared.recipe.schema import Schedule
from qwen_shared.training.schedule import learning_rate

PEAK, STEPS = 3e-4, 1000


def rates(**keys) -> list[float]:
    schedule = Schedule(**keys)
    return [learning_rate(schedule, PEAK, step, STEPS) for step in range(1, STEPS + 1)]


@pytest.mark.parametrize("kind", ["cosine", "constant", "linear", "wsd"])
def test_warm_up_rises_evenly_to_the_peak(kind):
    all_rates = rates(kind=kind, warmup_steps=100)
    assert all_rates[:100] == pytest.approx([PEAK * step / 100 for step in range(1, 101)])
    assert max(all_rates) == all_rates[99] == PEAK


@pytest.mark.parametrize(("kind", "last"), [("cosine", 0.1), ("linear", 0.1), ("wsd", 0.1), ("constant", 1.0)])
def test_the_last_step_is_at_the_floor(kind, last):
    all_rates = rates(kind=kind, warmup_steps=10, min_lr_ratio=0.1)
    assert all_rates[-1] == pytest.approx(PEAK * last)
    assert all(a >= b - 1e-18 for a, b in itertools.pairwise(all_rates[9:]))


def test_shapes_between():
    assert rates(kind="cosine", min_lr_ratio=0.0)[499] == pytest.approx(PEAK / 2)
    assert rates(kind="cosine", min_lr_ratio=0.0)[249] == pytest.approx(PEAK * 0.853553, rel=1e-5)
    assert rates(kind="linear", min_lr_ratio=0.0)[249] == pytest.approx(PEAK * 0.75)
    wsd = rates(kind="wsd", decay_steps=200, min_lr_ratio=0.0)
    assert wsd[799] == PEAK and wsd[899] == pytest.approx(PEAK / 2)
    assert rates(kind="wsd")[899] == PEAK and rates(kind="wsd")[900] < PEAK  # a tenth by default
