"""What `sft` measures before and after training, with a stand-in for the model."""

import json
from types import SimpleNamespace

import pytest

from code_qwen import examination, problems
from code_qwen.evaluation.settings import Evaluation
from code_qwen.examination import Examination
from code_qwen.sandbox import Guarantee
from qwen_shared.evaluation import examination as shared_examination
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer

pytestmark = pytest.mark.heavy  # programs run in the sandbox

TOKENIZER = load_tokenizer("default")
SHOWN = 12


class Tracker:
    def __init__(self):
        self.tables, self.figures = {}, {}

    def table(self, name, rows):
        self.tables[name] = rows

    def summary(self, figures):
        self.figures |= figures


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """A model that knows nothing before training and each of the first held-out tasks after it."""
    held_out = problems.held_out
    monkeypatch.setattr(problems, "held_out", lambda name, languages: held_out(name, languages=languages)[:SHOWN])
    monkeypatch.setattr(shared_examination, "weights_hash", str)
    monkeypatch.setattr(
        examination, "training_tasks", lambda recipe: problems.training(1, 50, ("en", "zh"), problems.FORMS)
    )

    def load(directory, tokenizer, batch_size):
        def generate(prompts, sampling, progress):
            texts = [problems.messages(task)[-1]["content"] for task in held_out("functions")[: len(prompts)]]
            texts = texts if directory.name == "after" else [""] * len(prompts)
            return [Completion(TOKENIZER.encode(text), stopped=True) for text in texts]

        return generate

    monkeypatch.setattr(shared_examination, "load_generator", load)
    recipe = SimpleNamespace(
        tasks=["functions"],
        evaluation=Evaluation(interval=1, timeout=5.0),
        problems=SimpleNamespace(languages=["en", "zh"]),
        data=SimpleNamespace(system=None, sources=[SimpleNamespace(path="functions")]),
        tokenizer="default",
    )
    (tmp_path / "run").mkdir()
    return Examination(recipe, tmp_path / "run")


def test_before_and_after(examine, tmp_path, capsys):
    tracker = Tracker()
    before = examine(tmp_path / "before", "before", tracker)
    assert before["eval/functions/pass@1"] == 0.0
    after = examine(tmp_path / "after", "after", tracker)
    assert after["eval/functions/pass@1"] == 1.0 and after["before/eval/functions/pass@1"] == 0.0
    assert 0 <= after["nearest/functions/pass@1"] < 1
    assert tracker.figures == after
    assert set(tracker.tables) == {"eval/functions/answers_before", "eval/functions/answers_after"}
    run = tmp_path / "run"
    assert len((run / "evaluation" / "functions.jsonl").read_text().splitlines()) == SHOWN
    assert json.loads((run / "evaluation-before" / "evaluation.json").read_text()) == before
    assert "after training" in capsys.readouterr().out


def test_the_nearest_solutions_answer_the_same_problems(examine, tmp_path, monkeypatch):
    judged = []
    passed = [SimpleNamespace(passed=True)]
    monkeypatch.setattr(examination, "run_tests_many", lambda jobs, workers: judged.extend(jobs) or passed)
    examine.recipe.evaluation = Evaluation(interval=1, timeout=5.0, limit=5)
    after = examine(tmp_path / "after", "after", Tracker())
    assert after["eval/functions/problems"] == len(judged) == 5


def test_what_the_machine_cannot_keep_a_program_from_is_said(examine, tmp_path, monkeypatch, capsys):
    open_door = Guarantee("network", held=False, how="nothing stops it", needed=True)
    monkeypatch.setattr(examination, "isolation", lambda: [open_door])
    examine(tmp_path / "before", "before", Tracker())
    assert "does not guarantee network here: nothing stops it" in capsys.readouterr().out


def test_families(examine, tmp_path):
    after = examine(tmp_path / "after", "after", Tracker())
    assert not any(name.startswith("before/") for name in after)
