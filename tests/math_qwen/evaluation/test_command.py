"""The verb: which prompts for which model, and where figures and answers end up."""

import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from math_qwen.cli import RECIPES, VERBS
from math_qwen.evaluation import command
from math_qwen.evaluation.settings import Evaluation
from math_qwen.recipe import MathRecipe
from qwen_shared.cli import Verb
from qwen_shared.errors import UserError
from qwen_shared.generation import decode
from qwen_shared.generation.sampling import Completion
from qwen_shared.recipe import load_recipe
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest


class Recipe(SimpleNamespace):
    def model_dump(self, mode):
        return {"name": "tiny"}


@pytest.fixture
def invocation(tmp_path, monkeypatch):
    """A finished run whose model knows no answer, asked two problems."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("name: tiny\n")
    Manifest.create("math-qwen sft", "math-sft", "tiny").write(run)
    recipe = Recipe(
        tasks=["level1"],
        evaluation=Evaluation(interval=1, limit=2),
        data=SimpleNamespace(system=None),
        problems=SimpleNamespace(languages=["en"]),
        tracking=Tracking(wandb="disabled"),
    )
    monkeypatch.setattr(command, "hf_directory", lambda invocation: Path("default"))
    silent = lambda prompts, sampling, progress: [Completion([5], stopped=True)] * len(prompts)
    monkeypatch.setattr(decode, "load_generator", lambda directory, tokenizer, batch_size: silent)
    return SimpleNamespace(
        recipe=recipe,
        overrides=[],
        run_dir=run,
        from_model=None,
        options=Namespace(to=None),
        command="math-qwen evaluate",
    )


def test_a_run_keeps_its_figures_and_answers(invocation, capsys):
    command.main(invocation)
    run = invocation.run_dir
    rows = [json.loads(line) for line in (run / "evaluation" / "level1.jsonl").read_text().splitlines()]
    assert [row["language"] for row in rows] == ["en", "en"]
    report = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert report["tasks"]["level1"]["accuracy"] == 0 and report["style"] == "chat"
    assert report["settings"]["limit"] == 2 and "interval" not in report["settings"]
    assert Manifest.read(run).results["eval/level1/problems"] == 2
    assert "level1" in capsys.readouterr().out


def test_an_earlier_step_is_kept_apart(invocation):
    invocation.from_model = f"{invocation.run_dir}@7"
    command.main(invocation)
    assert (invocation.run_dir / "evaluation-00000007" / "level1.jsonl").is_file()
    assert Manifest.read(invocation.run_dir).results == {}


def test_a_model_from_elsewhere_writes_where_it_is_told(invocation, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    invocation.from_model = str(foreign)
    invocation.options.to = tmp_path / "out"
    command.main(invocation)
    assert (tmp_path / "out" / "evaluation.json").is_file()
    assert Manifest.read(invocation.run_dir).results == {}


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_where_no_directory_can_be_is_known_before_anything_is_loaded(invocation, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(command, "hf_directory", lambda invocation: pytest.fail("the model is looked for"))
    invocation.options.to = tmp_path / place
    with pytest.raises(UserError, match="no directory"):
        command.main(invocation)


def test_prompts_by_the_kind_of_model(invocation, tmp_path):
    def style(prompt="auto"):
        invocation.recipe.evaluation = Evaluation(interval=1, prompt=prompt)
        return command.style_of(invocation, tmp_path / "foreign")

    assert style() == "chat" and style("base") == "base"
    Manifest.create("qwen-base pretrain", "base-pretrain", "tiny").write(invocation.run_dir)
    assert style() == "base" and style("chat") == "chat"
    (tmp_path / "foreign").mkdir()
    invocation.from_model = str(tmp_path / "foreign")
    assert style() == "base"
    (tmp_path / "foreign" / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert style() == "chat"


def test_plan(invocation, tmp_path):
    assert "level1 (embedded problems): prompts by the kind of model, greedy" in command.plan(invocation)
    invocation.recipe.tasks = ["gsm9k"]
    with pytest.raises(UserError, match="nearest: gsm8k"):
        command.plan(invocation)
    invocation.recipe.tasks = ["math"]
    invocation.recipe.evaluation = Evaluation(interval=1, shots=9)
    with pytest.raises(UserError, match=r"evaluation\.shots=9: there are 4 worked examples for math"):
        command.plan(invocation)


def test_a_model_from_elsewhere_is_not_asked_as_our_tiny_ones_are(math_qwen, tmp_path):
    """Their answers are short, and they know no system prompt."""
    plan = lambda *words: math_qwen("evaluate", "org/model", "--plan", *words, cwd=tmp_path).stdout
    assert "up to 512 tokens" in plan()
    assert "up to 96 tokens" in plan("--config", "tiny")
    assert "up to 7 tokens" in plan("evaluation.max_new_tokens=7")
    for verb in VERBS:
        if isinstance(verb, Verb) and verb.reads_run:
            recipe = load_recipe(MathRecipe, "tiny", [], RECIPES, verb.own_keys)
            assert recipe.data.system is None and recipe.evaluation.max_new_tokens == 512
            assert recipe.tasks and recipe.data.sources
