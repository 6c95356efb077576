"""What `--plan` says of a run."""

import argparse
import json
from pathlib import Path

import pytest

from qwen_shared.errors import UserError
from qwen_shared.job.parent import ParentModel
from qwen_shared.job.spec import RunSpec
from qwen_shared.model.sizes import flops_per_token
from qwen_shared.recipe import PretrainRecipe, SftRecipe, check_layout
from qwen_shared.recipe.schema import Model
from qwen_shared.training.plan import plan_run
from qwen_shared.training.plan.machines import Machine, cpu_precision, named_machine

MODEL = {"num_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 32, "padded_vocab_size": 8192}
RECIPE = {
    "name": "x",
    "model": MODEL,
    "training": {"steps": 9, "global_batch_size": 2},
    "optimizer": {"lr": 1.0},
    "checkpoint": {"interval": 1},
    "evaluation": {"interval": 1},
    "schedule": {"kind": "linear", "warmup_steps": 1},
}


TEXT = {"sources": "stdlib", "seq_length": 16}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A machine that is the same everywhere, and an empty cache."""
    monkeypatch.setenv("QWEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("qwen_shared.training.plan.machines.this_gpu", lambda: None)
    cpu = Machine("cpu", 1e11, 16 * 2**30)
    for module in ("machines", "run", "formatting"):
        monkeypatch.setattr(f"qwen_shared.training.plan.{module}.this_cpu", lambda: cpu)
    monkeypatch.setattr("qwen_shared.training.plan.run.this_gpu", lambda: None)


@pytest.fixture
def make(tmp_path):
    """make(schema, ranks, flags, …sections of the recipe)"""

    def make(schema=PretrainRecipe, ranks=1, flags=None, **more):
        recipe = schema.model_validate(RECIPE | {"data": TEXT} | more)
        parent = ParentModel("/a/run", 7, Model.model_validate(MODEL), "default")
        flags = argparse.Namespace(**(flags or {}))
        spec = RunSpec(recipe, check_layout(recipe, ranks), tmp_path / "run", "toy train", "toy", parent)
        return plan_run(spec, flags)

    return make


def words(text: str) -> list[str]:
    """The lines, spaces told once."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_optimizer_s_state_is_said_where_it_is_carried(make, tmp_path):
    assert "from /a/run@7\n" in str(make())
    assert "from /a/run@7 and its optimizer's state\n" in str(make(init={"optimizer": "carry"}))
    Path(tmp_path, "run/checkpoints/step-00000003").mkdir(parents=True)
    assert "its optimizer's state" not in str(make(init={"optimizer": "carry"}))  # it has its own


@pytest.fixture
def conversations(tmp_path):
    """Two files of conversations."""
    turn = {"messages": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So, and only so."}]}
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        path.write_text((json.dumps(turn) + "\n") * 300)
    return [str(path) for path in paths]


def test_stages_are_shown(make, conversations):
    data = {"sources": conversations, "seq_length": 16}
    lines = words(str(make(SftRecipe, data=data)))
    assert [line for line in lines if line.startswith("rate ")] == ["rate linear, peak 1, warm-up 1 steps"]
    fine = {"name": "fine", "steps": 4, "sources": conversations[1:], "lr": 0.25, "schedule": {"kind": "constant"}}
    lines = words(str(make(SftRecipe, data=data, stages=[{"name": "broad", "steps": 5}, fine])))
    assert [line for line in lines if line.startswith(("rate", "stage"))] == [
        "stage 1 broad: 5 steps of all sources; linear, peak 1, warm-up 1 steps",
        f"stage 2 fine: 4 steps of {conversations[1]}; constant, peak 0.25, warm-up 0 steps",
    ]


def test_figures_add_up_and_are_json(make):
    figures = json.loads(json.dumps(make(ranks=2, flags={"mfu": 0.5, "price": 3.0}).as_dict()))
    flops = 9 * 2 * 16 * flops_per_token(Model.model_validate(MODEL), 8192, 16)
    assert figures["training"] == {"steps": 9, "tokens_per_step": 32, "tokens": 288, "flops": flops}
    gpu = next(one for one in figures["machines"] if one["name"] == "H100")
    assert gpu["seconds"] == pytest.approx(flops / (2 * 0.5 * 989e12))
    assert gpu["gpu_hours"] == pytest.approx(gpu["seconds"] * 2 / 3600)
    assert gpu["dollars"] == pytest.approx(gpu["gpu_hours"] * 3)
    cpu = next(one for one in figures["machines"] if one["name"] == "cpu")
    assert cpu["seconds"] == pytest.approx(flops / (0.5 * 1e11))  # both processes share it
    assert cpu["dollars"] is None
    memory = figures["memory"]
    parts = ("weights", "gradients", "optimizer", "activations", "logits", "buffers")
    assert memory["total"] == sum(memory[part] for part in parts)
    kept = memory["activations_with_recompute"]
    assert kept["none"] == memory["activations"] > kept["selective"] > kept["full"]


def test_a_host_holds_its_own_processes_alone(make):
    """What fits four processes on one host fits eight on two, and these are done in half the time."""
    data, cpu = {"data": TEXT, "training": {"steps": 9, "global_batch_size": 8}}, {"gpu": "cpu"}
    one, two = make(ranks=4, flags=cpu, **data), make(ranks=8, flags=cpu | {"nodes": 2}, **data)
    alone = make(ranks=8, flags=cpu, **data)
    needed = [plan.as_dict()["memory"] for plan in (one, two, alone)]
    assert needed[1]["needed"] == 4 * needed[2]["needed"] / 8 < 1.01 * needed[0]["needed"]
    assert "program, × 4 processes on each of 2 hosts" in str(two)
    times = [plan.as_dict()["machines"][0]["seconds"] for plan in (two, alone)]
    assert times[0] == pytest.approx(times[1] / 2)


def test_what_is_left_is_planned(make, tmp_path):
    Path(tmp_path, "run/checkpoints/step-00000003").mkdir(parents=True)
    plan = make()
    assert plan.as_dict()["training"]["steps"] == 6
    assert "go on with" in str(plan) and "6 steps left" in str(plan)


def test_the_machine_is_this_one_where_it_is_large_enough(make, monkeypatch):
    assert make().machine.name == "cpu"
    large = MODEL | {"num_layers": 48, "hidden_size": 2048, "num_attention_heads": 16, "ffn_hidden_size": 8192}
    assert make(model=large).machine.name == "H100"
    assert make(flags={"gpu": "l40s"}).machine.name == "L40S"
    monkeypatch.setattr("qwen_shared.training.plan.run.this_gpu", lambda: named_machine("A100"))
    assert make().machine.name == "A100"


def test_what_does_not_fit_comes_with_what_would(make):
    large = MODEL | {"num_layers": 48, "hidden_size": 4096, "num_attention_heads": 32, "ffn_hidden_size": 8192}
    data = {"sources": "stdlib", "seq_length": 4096}
    plan = make(model=large, data=data, ranks=2, flags={"gpu": "H100"})
    text = str(plan)
    assert "TOO MUCH" in text and "to fit" in text and "parallel.tensor_parallel=" in text
    suggestions = plan.as_dict()["suggestions"]
    usable = plan.as_dict()["memory"]["usable"]
    assert suggestions and all(one["fits"] and one["needed"] <= usable for one in suggestions)
    assert "to fit" not in str(make(flags={"gpu": "H100"}))


def test_a_screen_is_enough(make, conversations, tmp_path):
    large = MODEL | {"num_layers": 48, "hidden_size": 4096, "num_attention_heads": 32, "ffn_hidden_size": 8192}
    data = {"sources": conversations * 8, "seq_length": 64}
    for plan in (make(), make(SftRecipe, model=large, data=data, flags={"price": 2.0})):
        lines = str(plan).replace(str(tmp_path), "").splitlines()
        assert len(lines) <= 40 and max(map(len, lines)) <= 130


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"gpu": "H20"}, "--gpu H20: not known; nearest: H200"),
        ({"mfu": 40.0}, "--mfu 40: a share of the peak"),
        ({"mfu": 0.0}, "--mfu 0"),
        ({"price": -1.0}, "--price -1"),
    ],
)
def test_flags_that_cannot_be_are_refused_at_once(make, flags, said):
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        make(flags=flags)


# ---- data


def test_the_beginning_of_data_is_looked_at(make, tmp_path):
    file = tmp_path / "text.jsonl"
    line = json.dumps({"text": "Many words make light work of a short line, they say. " * 4}) + "\n"
    file.write_text(line * 2000)
    plan = make(data={"sources": str(file), "seq_length": 16, "validation_fraction": 0.0})
    (source,) = plan.as_dict()["data"]
    from qwen_shared.tokenizer import load_tokenizer

    tokens = 2000 * (len(load_tokenizer("default").encode(json.loads(line)["text"])) + 1)
    assert source["tokens"] == pytest.approx(tokens, rel=0.1) and not source["counted"]
    assert source["seen"] == pytest.approx(288 / source["tokens"])
    assert f"{file}: 1 file of " in str(plan) and "tokens, seen" in str(plan)


def test_data_that_was_read_before_is_counted(make, tmp_path):
    from qwen_shared.data import prepare
    from qwen_shared.run.paths import cache_dir

    file = tmp_path / "text.jsonl"
    file.write_text("".join(json.dumps({"text": f"Line {i} of this file, and no other."}) + "\n" for i in range(50)))
    recipe = PretrainRecipe.model_validate(RECIPE | {"data": {"sources": str(file), "seq_length": 16}})
    (prepared,) = prepare(recipe.data, "default", cache_dir(), workers=1)
    (source,) = make(data={"sources": str(file), "seq_length": 16}).as_dict()["data"]
    assert (source["tokens"], source["counted"]) == (prepared.meta["train"]["tokens"], True)


def test_a_mistake_at_the_beginning_of_data_is_told_with_its_line(make, tmp_path):
    file = tmp_path / "text.jsonl"
    file.write_text('{"text": "fine"}\n{"words": "not fine"}\n')
    plan = make(data={"sources": str(file), "seq_length": 16})  # nothing is read yet
    with pytest.raises(UserError, match="line 2: no key 'text'"):
        str(plan)


def test_precision_of_a_cpu_is_what_torch_would_choose():
    from qwen_shared.backend import resolve_precision

    assert cpu_precision("fp32") == "fp32"
    if not __import__("torch").cuda.is_available():
        assert cpu_precision("auto") == resolve_precision("auto")
