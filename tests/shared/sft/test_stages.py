"""Stages of one run: which step is whose, at what rate, on what data."""

from types import SimpleNamespace

import pytest

from qwen_shared.recipe import SftRecipe
from qwen_shared.recipe.sft_schema import Stage
from qwen_shared.sft.data import Conversations
from qwen_shared.sft.stages import StagedBatches, stage_at, staged_lr_schedule, stages_of
from qwen_shared.training.schedule import learning_rate

RECIPE = {
    "name": "x",
    "data": {"sources": ["a.jsonl", "b.jsonl"], "seq_length": 64},
    "training": {"steps": 9, "global_batch_size": 2},
    "optimizer": {"lr": 1.0},
    "checkpoint": {"interval": 1},
    "evaluation": {"interval": 1},
    "schedule": {"kind": "linear", "warmup_steps": 1},
}
BROAD = {"name": "broad", "steps": 5}
FINE = {"name": "fine", "steps": 4, "sources": ["b.jsonl"], "lr": 0.25, "schedule": {"kind": "constant"}}


def recipe(*stages: dict, **changes) -> SftRecipe:
    return SftRecipe.model_validate(RECIPE | {"stages": list(stages)} | changes)


def test_every_step_is_of_one_stage():
    stages = [Stage(name=name, steps=steps) for name, steps in (("a", 5), ("b", 1), ("c", 3))]
    assert [stage_at(stages, step) for step in (1, 5, 6, 7, 9)] == [(0, 1), (0, 5), (1, 1), (2, 1), (2, 3)]
    with pytest.raises(IndexError):
        stage_at(stages, 10)


def test_each_stage_has_its_own_schedule():
    staged = recipe(BROAD, FINE)
    rate = staged_lr_schedule(staged)
    assert [rate(step) for step in range(1, 6)] == [learning_rate(staged.schedule, 1.0, s, 5) for s in range(1, 6)]
    assert [rate(step) for step in range(6, 10)] == [0.25] * 4


def test_without_stages_the_run_is_one():
    whole = recipe()
    assert [stage.steps for stage in stages_of(whole)] == [9]
    rates = [staged_lr_schedule(whole)(step) for step in range(1, 10)]
    assert rates == [learning_rate(whole.schedule, 1.0, step, 9) for step in range(1, 10)]


def test_batches_begin_anew_with_each_stage():
    asked = []
    batches = [
        SimpleNamespace(micro_batches=lambda s, i=i: asked.append((i, s)), digest=lambda s, i=i: f"{i}.{s}")
        for i in (0, 1)
    ]
    staged = StagedBatches(recipe(BROAD, FINE).stages, batches)
    for step in (1, 5, 6, 9):
        staged.micro_batches(step)
    assert asked == [(0, 1), (0, 5), (1, 1), (1, 4)]
    assert staged.digest(6) == "1.1"


def test_spare_batches_are_of_their_step_s_stage_and_of_no_other_step():
    """The run has nine steps: batch 9·n + s is the n-th in place of step s (see `training.guards`)."""
    asked = []
    batches = [SimpleNamespace(micro_batches=lambda s, i=i: asked.append((i, s))) for i in (0, 1)]
    staged = StagedBatches(recipe(BROAD, FINE).stages, batches)
    for number in range(1, 28):
        staged.micro_batches(number)
    assert len(set(asked)) == 27
    assert [stage for stage, _ in asked] == 3 * (5 * [0] + 4 * [1])
    assert asked[9 + 5] == (1, 4 + 1)


def test_a_stage_reads_its_sources_in_an_order_of_its_own(packed, conversations):
    a, b = packed(conversations(60), 64, seed=1234), packed(conversations(90)[60:], 64, seed=1234)
    found = Conversations([], [a, b], [])
    first, second = (found.blend(recipe(BROAD, FINE), stage) for stage in (0, 1))
    assert len(first.datasets) == 2
    assert len(second.datasets) == 1

    def epoch(stream):
        return [stream.sample(i).tokens.tobytes() for i in range(stream.num_samples)]

    before, after = epoch(first.datasets[1]), epoch(second.datasets[0])
    assert sorted(before) == sorted(after)
    assert before != after
    assert epoch(first.datasets[0]) == epoch(a)  # the first stage is what a run without stages would see


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([BROAD], "training.steps=9, but the stages have 5: make them equal"),
        ([BROAD, FINE | {"sources": ["c.jsonl"]}], "c.jsonl is not in data.sources"),
        ([BROAD | {"sources": ["b.jsonl"]}, FINE], "no stage uses a.jsonl"),
        ([BROAD | {"steps": 8}, FINE | {"steps": 1, "schedule": None}], "leaves nothing of its 1 steps"),
        ([BROAD, FINE | {"schedule": {"kind": "wsd", "decay_steps": 5}}], "stages.1: schedule.decay_steps=5 is longer"),
        ([BROAD, FINE | {"schedule": {"kind": "linear", "decay_steps": 2}}], "stages.1: schedule.decay_steps=2 is for"),
        ([BROAD, FINE | {"schedule": {"warmup_steps": 4}}], "stages.1: schedule.warmup_steps=4 leaves nothing"),
    ],
)
def test_stages_that_cannot_be(stages, said):
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        recipe(*stages)


def test_the_recipe_s_schedule_must_fit_into_the_stages_that_use_it():
    falling = {"kind": "wsd", "decay_steps": 5}
    with pytest.raises(ValueError, match=r"stages\.1: schedule\.decay_steps=5 is longer .* its own schedule"):
        recipe(BROAD, FINE | {"schedule": None}, schedule=falling)
    assert recipe(BROAD, FINE, schedule=falling).schedule.decay_steps == 5
