"""What answering as the nearest training task does would get, and the tasks before and after training."""

import json
from types import SimpleNamespace

import pytest
from stand_in import Says

from code_qwen import problems, sft
from code_qwen.recipe import CodeEvaluation
from qwen_shared.evaluation import model
from qwen_shared.evaluation.before_after import BeforeAfter

pytestmark = pytest.mark.heavy  # programs run in the sandbox

SHOWN = 12


class Tracker:
    def __init__(self):
        self.tables, self.results = {}, {}

    def table(self, name, rows):
        self.tables[name] = rows

    def summary(self, results):
        self.results |= results


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """A model that knows nothing before training and each of the first held-out tasks after it."""
    held_out = problems.held_out
    monkeypatch.setattr(problems, "held_out", lambda name, languages: held_out(name, languages=languages)[:SHOWN])
    monkeypatch.setattr(model, "weights_hash", str)
    monkeypatch.setattr(sft, "training_tasks", lambda recipe: problems.training(1, 50, ("en", "zh"), problems.FORMS))

    def load(directory, tokenizer, batch_size):
        texts = [problems.messages(task)[-1]["content"] for task in held_out("functions")[:SHOWN]]
        return Says(*(texts if directory.name == "after" else [""] * SHOWN)).generate

    monkeypatch.setattr(model.decode, "load_generator", load)
    recipe = SimpleNamespace(
        tasks=["functions"],
        evaluation=CodeEvaluation(interval=1, timeout=5.0),
        problems=SimpleNamespace(languages=["en", "zh"]),
        data=SimpleNamespace(system=None, sources=[SimpleNamespace(path="functions")]),
        tokenizer="default",
    )
    (tmp_path / "run").mkdir()
    return BeforeAfter(recipe, tmp_path / "run", sft.nearest)


def test_before_and_after(evaluate, tmp_path, capsys):
    tracker = Tracker()
    before = evaluate(tmp_path / "before", "before", tracker)
    assert before["eval/functions/pass@1"] == 0.0
    after = evaluate(tmp_path / "after", "after", tracker)
    assert after["eval/functions/pass@1"] == 1.0 and after["before/eval/functions/pass@1"] == 0.0
    assert 0 <= after["nearest/functions/pass@1"] < 1
    assert tracker.results == after
    assert set(tracker.tables) == {"eval/functions/answers_before", "eval/functions/answers_after"}
    run = tmp_path / "run"
    assert len((run / "evaluation" / "functions.jsonl").read_text().splitlines()) == SHOWN
    assert json.loads((run / "evaluation-before" / "evaluation.json").read_text())["results"] == before
    assert "after training" in capsys.readouterr().out


def test_the_nearest_solutions_answer_the_same_problems(evaluate, monkeypatch):
    judged = []
    passed = [SimpleNamespace(passed=True)]
    monkeypatch.setattr("code_qwen.sandbox.run_tests_many", lambda jobs, workers: judged.extend(jobs) or passed)
    evaluate.recipe.evaluation = CodeEvaluation(interval=1, timeout=5.0, limit=5)
    assert sft.nearest(evaluate.recipe) == {"nearest/functions/pass@1": 1.0}
    asked = problems.held_out("functions", languages=["en", "zh"])[:5]
    assert [job.test for job in judged] == [task.test for task in asked]


def test_without_a_before_there_are_no_such_results(evaluate, tmp_path):
    after = evaluate(tmp_path / "after", "after", Tracker())
    assert not any(name.startswith("before/") for name in after)
