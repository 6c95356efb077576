"""The verb: where figures and answers end up, and what is refused."""

import json
from argparse import ArgumentParser, Namespace
from types import SimpleNamespace

import pytest

from code_qwen import sandbox
from code_qwen.cli import RECIPES, VERBS
from code_qwen.evaluation import command
from code_qwen.evaluation.settings import Evaluation
from code_qwen.recipe import CodeSftRecipe
from qwen_shared.errors import UserError
from qwen_shared.generation import decode
from qwen_shared.generation.sampling import Completion
from qwen_shared.recipe import load_recipe
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest
from qwen_shared.tokenizer import load_tokenizer

pytestmark = pytest.mark.heavy  # programs run in the sandbox


class Recipe(SimpleNamespace):
    def model_dump(self, mode):
        return {"name": "tiny"}


@pytest.fixture
def invocation(tmp_path, monkeypatch):
    """A finished run whose model knows nothing, asked two problems."""
    run, model = tmp_path / "run", tmp_path / "model"
    run.mkdir()
    (run / "recipe.yaml").write_text("name: tiny\n")
    Manifest.create("code-qwen sft", "code-sft", "tiny").write(run)
    load_tokenizer("default").save_hf(model)
    recipe = Recipe(
        tasks=["functions"],
        evaluation=Evaluation(interval=1, limit=2),
        data=SimpleNamespace(system=None),
        problems=SimpleNamespace(languages=["zh"]),
        tracking=Tracking(wandb="disabled"),
    )
    monkeypatch.setattr(command, "hf_directory", lambda invocation: model)
    monkeypatch.setattr("qwen_shared.convert.hf_files.weights_hash", lambda directory: "hash")
    silent = lambda prompts, sampling, progress: [Completion([5], stopped=True)] * len(prompts)
    monkeypatch.setattr(decode, "load_generator", lambda directory, tokenizer, batch_size: silent)
    options = Namespace(to=None, require_isolation=False)
    return SimpleNamespace(
        recipe=recipe, overrides=[], run_dir=run, from_model=None, options=options, command="code-qwen evaluate"
    )


def test_a_run_keeps_its_figures_and_answers(invocation, capsys):
    command.main(invocation)
    run = invocation.run_dir
    rows = [json.loads(line) for line in (run / "evaluation" / "functions.jsonl").read_text().splitlines()]
    assert [row["language"] for row in rows] == ["zh", "zh"]
    report = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert report["tasks"]["functions"]["pass@1"] == 0 and report["style"] == "chat" and report["weights"] == "hash"
    assert report["settings"]["limit"] == 2 and report["isolation"] and "interval" not in report["settings"]
    assert Manifest.read(run).results["eval/functions/problems"] == 2
    assert "functions" in capsys.readouterr().out


def test_an_earlier_step_and_another_way_of_asking_are_kept_apart(invocation):
    invocation.from_model = f"{invocation.run_dir}@7"
    command.main(invocation)
    assert (invocation.run_dir / "evaluation-00000007" / "functions.jsonl").is_file()
    invocation.from_model, invocation.overrides = None, ["evaluation.limit=2"]
    command.main(invocation)
    assert (invocation.run_dir / "evaluation-trial" / "functions.jsonl").is_file()
    assert Manifest.read(invocation.run_dir).results == {}


def test_without_isolation_it_refuses_where_it_must(invocation, monkeypatch):
    parser = ArgumentParser()
    command.options(parser)
    invocation.options = parser.parse_args(["--require-isolation"])

    def refuse():
        raise UserError("this machine cannot isolate programs")

    monkeypatch.setattr(sandbox, "require_isolation", refuse)
    monkeypatch.setattr(command, "hf_directory", lambda invocation: pytest.fail("the model is looked for"))
    with pytest.raises(UserError, match="cannot isolate"):
        command.main(invocation)


def test_plan(invocation):
    assert "functions (made here): prompts by the kind of model, greedy" in command.plan(invocation)
    invocation.recipe.tasks = ["humanevil"]
    with pytest.raises(UserError, match="nearest: humaneval"):
        command.plan(invocation)
    invocation.recipe.tasks = ["mbpp"]
    invocation.recipe.evaluation = Evaluation(interval=1, shots=4)
    with pytest.raises(UserError, match=r"evaluation\.shots=4: there are 3 worked examples for mbpp"):
        command.plan(invocation)


def test_a_model_from_elsewhere_is_not_asked_as_our_tiny_ones_are():
    (verb,) = [verb for verb in VERBS if verb.name == "evaluate"]
    recipe = load_recipe(CodeSftRecipe, "tiny", [], RECIPES / "sft", verb.own_keys)
    assert recipe.data.system is None and recipe.evaluation.max_new_tokens == 512
