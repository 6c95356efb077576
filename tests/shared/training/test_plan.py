"""What `--plan` says of a run."""

from pathlib import Path

import pytest

from qwen_shared.recipe import PretrainRecipe, SftRecipe, check_layout
from qwen_shared.recipe.schema import Model
from qwen_shared.training.plan import plan_run
from qwen_shared.training.start import Start

MODEL = {"num_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 32, "vocab_rows": 8192}
RECIPE = {
    "name": "x",
    "model": MODEL,
    "training": {"steps": 9, "global_batch_size": 2},
    "optimizer": {"lr": 1.0},
    "checkpoint": {"interval": 1},
    "evaluation": {"interval": 1},
    "schedule": {"kind": "linear", "warmup_steps": 1},
}


@pytest.fixture
def plan(tmp_path):
    def plan(schema, **more) -> str:
        recipe = schema.model_validate(RECIPE | more)
        origin = Start("/a/run", 7, Model.model_validate(MODEL), "default")
        return plan_run("toy train", recipe, check_layout(recipe, 1), tmp_path / "run", origin)

    plan.run_dir = tmp_path / "run"
    return plan


def test_the_optimizer_s_state_is_said_where_it_is_carried(plan):
    data = {"sources": "stdlib", "seq_length": 16}
    assert "from /a/run@7\n" in plan(PretrainRecipe, data=data)
    assert "from /a/run@7 and its optimizer's state\n" in plan(PretrainRecipe, data=data, init={"optimizer": "carry"})
    Path(plan.run_dir, "checkpoints/step-00000003").mkdir(parents=True)
    assert "its optimizer's state" not in plan(PretrainRecipe, data=data, init={"optimizer": "carry"})  # it has its own


def test_stages_are_shown(plan):
    data = {"sources": ["a.jsonl", "b.jsonl"], "seq_length": 16}
    lines = plan(SftRecipe, data=data).splitlines()
    assert [line for line in lines if line.startswith("rate ")] == ["rate         linear, peak 1, warm-up 1 steps"]
    fine = {"name": "fine", "steps": 4, "sources": ["b.jsonl"], "lr": 0.25, "schedule": {"kind": "constant"}}
    lines = plan(SftRecipe, data=data, stages=[{"name": "broad", "steps": 5}, fine]).splitlines()
    assert [line for line in lines if line.startswith(("rate", "stage"))] == [
        "stage 1      broad: 5 steps of all sources; linear, peak 1, warm-up 1 steps",
        "stage 2      fine: 4 steps of b.jsonl; constant, peak 0.25, warm-up 0 steps",
    ]
