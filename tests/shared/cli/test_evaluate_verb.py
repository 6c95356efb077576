"""The verb: which prompts for which model, and where results and answers go."""

import json
from argparse import Namespace
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from stand_in import Always

from qwen_shared.cli import evaluate_verb
from qwen_shared.cli.evaluate_verb import as_the_run_says, output_directory
from qwen_shared.errors import UserError
from qwen_shared.evaluation import find, model
from qwen_shared.evaluation.prompts import chat_prompt
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Judgement, Task
from qwen_shared.generation.sampling import Completion
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest
from qwen_shared.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Sums(Task):
    """Wrong answers to sums in the asked languages."""

    def read(self, conditions):
        for number in range(6):
            language = conditions.languages[number % len(conditions.languages)]
            yield SimpleItem(f"{number}", {"language": language})

    def prompt(self, item, conditions, tokenizer):
        return chat_prompt([{"role": "user", "content": f"{item.id} + 1"}], conditions.system, tokenizer)

    def judge(self, items, answers, conditions):
        return [Judgement("wrong", 0.0, extras={"gold": int(item.id) + 1}) for item in items]

    def facts(self):
        return {"judge": "known"}


@dataclass(frozen=True)
class SimpleItem:
    id: str
    groups: dict


@pytest.fixture
def sums(monkeypatch):
    """`sums` is registered as a task."""
    task = Sums("sums", embedded=True)
    points = lambda group: [SimpleNamespace(name="sums", value="toy:SUMS", load=lambda: task)]
    monkeypatch.setattr(find, "entry_points", points)


@pytest.fixture
def invocation(tmp_path, monkeypatch, sums):
    """A finished run whose model knows no answer, asked two problems."""
    run, directory = tmp_path / "run", tmp_path / "model"
    run.mkdir()
    (run / "recipe.yaml").write_text("name: tiny\ndata: {system: null}\n")
    Manifest.create("toy sft", "toy-sft", "tiny").write(run)
    load_tokenizer("default").save_hf(directory)
    recipe = SimpleNamespace(
        tasks=["sums"],
        evaluation=EvaluationSettings(interval=1, limit=2),
        data=SimpleNamespace(system=None),
        problems=SimpleNamespace(languages=["zh"]),
        tracking=Tracking(wandb="disabled"),
    )
    monkeypatch.setattr(evaluate_verb.model_argument, "hf_directory", lambda invocation: directory)
    monkeypatch.setattr(model, "weights_hash", lambda directory: "hash")
    silent = Always(Completion([5], stopped=True)).generate
    monkeypatch.setattr(model.decode, "load_generator", lambda directory, tokenizer, batch_size: silent)
    return SimpleNamespace(
        recipe=recipe,
        overrides=[],
        run_dir=run,
        from_model=None,
        options=Namespace(to=None),
        command="toy evaluate",
    )


def test_a_run_keeps_its_results_and_answers(invocation, capsys):
    evaluate_verb.main(invocation)
    run = invocation.run_dir
    rows = [json.loads(line) for line in (run / "evaluation" / "sums.jsonl").read_text().splitlines()]
    assert [row["groups"] for row in rows] == [{"language": "zh"}] * 2
    common = ["task_id", "sample", "prompt", "completion", "outcome", "score", "reason", "tokens", "stopped", "groups"]
    assert list(rows[0]) == [*common, "gold"]
    report = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert report["style"] == "chat" and report["weights"] == "hash" and report["judge"] == "known"
    assert report["settings"]["limit"] == 2 and "interval" not in report["settings"]
    of_task = report["tasks"]["sums"]
    assert of_task["metrics"]["accuracy"] == 0 and of_task["by"] == {} and of_task["place"] == "made here"
    assert report["results"]["eval/sums/problems"] == 2
    assert Manifest.read(run).results == report["results"]
    assert "sums" in capsys.readouterr().out


def test_other_problems_have_another_hash(invocation):
    def hash_of(languages):
        invocation.recipe.problems.languages = languages
        evaluate_verb.main(invocation)
        report = json.loads((invocation.run_dir / "evaluation" / "evaluation.json").read_text())
        return report["tasks"]["sums"]["problems_sha256"]

    assert hash_of(["en"]) == hash_of(["en"]) != hash_of(["zh"])


def test_an_earlier_step_and_another_way_of_asking_are_kept_apart(invocation, capsys):
    invocation.from_model = f"{invocation.run_dir}@7"
    evaluate_verb.main(invocation)
    assert (invocation.run_dir / "evaluation-00000007" / "sums.jsonl").is_file()
    invocation.from_model, invocation.overrides = None, ["evaluation.limit=2"]
    evaluate_verb.main(invocation)
    assert (invocation.run_dir / "evaluation-trial" / "sums.jsonl").is_file()
    assert Manifest.read(invocation.run_dir).results == {} and "asked otherwise" in capsys.readouterr().out


def test_a_model_from_elsewhere_writes_to_the_given_directory(invocation, tmp_path, capsys):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    invocation.from_model = str(foreign)
    evaluate_verb.main(invocation)
    assert "--to DIR writes every answer" in capsys.readouterr().out
    invocation.options.to = tmp_path / "out"
    evaluate_verb.main(invocation)
    assert (tmp_path / "out" / "evaluation.json").is_file()
    assert Manifest.read(invocation.run_dir).results == {}


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_a_place_that_is_no_directory_is_known_before_anything_is_loaded(invocation, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(evaluate_verb.model_argument, "hf_directory", lambda i: pytest.fail("the model is looked for"))
    invocation.options.to = tmp_path / place
    with pytest.raises(UserError, match="no directory"):
        evaluate_verb.main(invocation)


def test_plan(invocation):
    assert "sums (made here): prompts by the kind of model, greedy" in evaluate_verb.plan(invocation)
    invocation.recipe.evaluation = EvaluationSettings(interval=1, samples=20, limit=5, prompt="chat")
    said = "chat prompts, 20 samples at temperature 0.8, top_p 1, up to 512 tokens, first 5 of each"
    assert said in evaluate_verb.plan(invocation)
    invocation.recipe.tasks = ["summs"]
    with pytest.raises(UserError, match="nearest: sums"):
        evaluate_verb.plan(invocation)


def test_the_output_directory(tmp_path):
    run = tmp_path / "run"
    assert output_directory(None, run, None, ["tasks=a"]) == run / "evaluation"
    assert output_directory(None, run, 7, []) == run / "evaluation-00000007"
    assert output_directory(None, run, 7, ["evaluation.samples=3"]) == run / "evaluation-trial"
    assert output_directory(None, None, None, []) is None
    assert output_directory(tmp_path / "a" / "b", run, None, []) == tmp_path / "a" / "b"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no directory"):
        output_directory(tmp_path / "file" / "b", run, None, [])


def test_as_the_run_says():
    assert as_the_run_says(["tasks=a,b", "evaluation.batch_size=3", "evaluation.workers=2"])
    for word in ("evaluation.temperature=1", "evaluation={limit: 2}", "data.system=x", "problems.languages=[en]"):
        assert not as_the_run_says([word])


def test_answers_never_replace_the_problems(invocation, tmp_path, monkeypatch):
    task = Sums("sums", path=str(tmp_path / "sums.jsonl"))
    point = SimpleNamespace(name="sums", value="toy:SUMS", load=lambda: task)
    monkeypatch.setattr(find, "entry_points", lambda group: [point])
    invocation.options.to = tmp_path
    with pytest.raises(UserError, match="take the place of the problems"):
        evaluate_verb.main(invocation)
