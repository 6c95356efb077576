"""A task of multiple choice is one file: this one, with a model whose log-likelihoods are computed one by one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from stand_in import TOKENIZER, ask

from qwen_shared.errors import UserError
from qwen_shared.evaluation import find
from qwen_shared.evaluation.choices import ChoiceItem, ChoiceTask
from qwen_shared.evaluation.find import rows_of
from qwen_shared.evaluation.run import named_metrics
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Conditions, Hub
from qwen_shared.generation.score import log_likelihoods

# ---- the whole task, as a package would have it


@dataclass(frozen=True)
class Mmlu(ChoiceTask[ChoiceItem]):
    """MMLU (Hendrycks et al. 2021): the letters are the choices."""

    logged_groups: ClassVar = {"subject": ("accuracy",)}

    def read(self, conditions: Conditions) -> Iterator[ChoiceItem]:
        for number, (row, _) in enumerate(rows_of(self)):
            listed = "".join(f"\n{letter}. {text}" for letter, text in zip("ABCD", row["choices"], strict=True))
            question = f"{row['question']}{listed}\nAnswer:"
            groups = {"subject": row["subject"]}
            yield ChoiceItem(str(number), question, (" A", " B", " C", " D"), row["answer"], groups)


MMLU = Mmlu("mmlu", Hub("cais/mmlu", "all"))  # and its entry point: mmlu = "package.mmlu:MMLU"


# ---- another: the model sees no choices, and they have several tokens


@dataclass(frozen=True)
class Endings(ChoiceTask[ChoiceItem]):
    max_shots: ClassVar[int] = 1

    def read(self, conditions: Conditions) -> Iterator[ChoiceItem]:
        for number, (row, _) in enumerate(rows_of(self)):
            yield ChoiceItem(str(number), row["question"], tuple(f" {c}" for c in row["choices"]), row["answer"])

    def examples(self, item: ChoiceItem, shots: int) -> str:
        return "The sky is blue.\n\n" * shots


ENDINGS = Endings("endings")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    points = [SimpleNamespace(name=task.name, value="", load=lambda task=task: task) for task in (MMLU, ENDINGS)]
    monkeypatch.setattr(find, "entry_points", lambda group: points)


@pytest.fixture(scope="module")
def lm():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=8320, num_key_value_heads=2, max_position_embeddings=96, **sizes)
    return Qwen2ForCausalLM(config).eval()


@pytest.fixture
def model(lm):
    return SimpleNamespace(
        tokenizer=TOKENIZER,
        weights="model",
        log_likelihoods=lambda pairs, progress: log_likelihoods(lm, pairs, progress),
    )


ROWS = [
    {
        "question": f"Which of these is {number} plus one? " + "Think. " * number,
        "subject": ("sums", "more")[number % 2],
        "choices": [str(number), f"the number {number + 1}", "a fish of the sea", "no"],
        "answer": number % 4,
    }
    for number in range(8)
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def one_by_one(lm, prompt, choice):
    """The log-likelihood of a choice by itself."""
    ids = TOKENIZER.encode(choice)
    with torch.no_grad():
        logits = lm(torch.tensor([prompt + ids])).logits[0].float()
    shares = logits.log_softmax(-1)
    return sum(float(shares[len(prompt) + i - 1, id]) for i, id in enumerate(ids))


@pytest.mark.parametrize("style", ["base", "chat"])
@pytest.mark.parametrize("task", [MMLU, ENDINGS])
def test_choices_are_those_of_the_highest_log_likelihood(task, style, lm, model, file):
    settings = EvaluationSettings(interval=1)
    result = ask(model, [f"{task.name}:{file}"], settings, style)[task.name]
    conditions = Conditions(settings, style)
    items = task.at(str(file)).items(conditions)
    right = right_norm = 0
    for item, row in zip(items, result.rows, strict=True):
        prompt = task.prompt(item, conditions, TOKENIZER)
        expected = [one_by_one(lm, prompt, choice) for choice in task.choices(item, conditions)]
        assert row["log_likelihoods"] == pytest.approx(expected, rel=1e-4)
        chosen = max(range(4), key=lambda i: expected[i])
        by_length = max(range(4), key=lambda i: expected[i] / len(item.choices[i].strip()))
        assert row["completion"] == task.choices(item, conditions)[chosen]
        assert row["outcome"] == ("right" if chosen == item.gold else "wrong")
        right, right_norm = right + (chosen == item.gold), right_norm + (by_length == item.gold)
    assert result.metrics["accuracy"] == right / 8 and result.metrics["acc_norm"] == right_norm / 8
    assert set(result.metrics) == set(task.metric_names(settings))


def test_metrics_by_subject_are_logged(model, file):
    named = named_metrics(ask(model, [f"mmlu:{file}"], EvaluationSettings(interval=1)))
    assert {"eval/mmlu/accuracy", "eval/mmlu/acc_norm_low", "eval/mmlu/sums/accuracy"} <= set(named)


def test_a_problem_that_does_not_fit_is_counted(model, tmp_path):
    path = tmp_path / "long.jsonl"
    rows = [ROWS[0], ROWS[0] | {"question": "Think. " * 100}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = ask(model, [f"endings:{path}"], EvaluationSettings(interval=1), "base")["endings"]
    assert result.metrics["too_long"] == 1 and result.rows[1]["score"] == 0 and not result.rows[1]["stopped"]


def test_worked_examples(model, file):
    task = ENDINGS.at(str(file))
    (item, *_) = task.items(Conditions(EvaluationSettings(interval=1)))
    shown = Conditions(EvaluationSettings(interval=1, shots=1), "base")
    assert TOKENIZER.decode(task.prompt(item, shown, TOKENIZER)).startswith("The sky is blue.\n\nWhich")
    with pytest.raises(UserError, match=r"evaluation\.shots=2: there are 1 worked examples for endings"):
        ask(model, [f"endings:{file}"], EvaluationSettings(interval=1, shots=2))


def test_a_stopped_evaluation_goes_on(model, file, tmp_path, monkeypatch):
    monkeypatch.setattr(Endings, "part_size", 3)
    whole = ask(model, [f"endings:{file}"], EvaluationSettings(interval=1))["endings"]
    calls = []

    def stops(pairs, progress):
        calls.append(len(pairs))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return model.log_likelihoods(pairs, progress)

    stopping = SimpleNamespace(tokenizer=TOKENIZER, weights="model", log_likelihoods=stops)
    with pytest.raises(KeyboardInterrupt):
        ask(stopping, [f"endings:{file}"], EvaluationSettings(interval=1), output=tmp_path / "out")
    again = ask(stopping, [f"endings:{file}"], EvaluationSettings(interval=1), output=tmp_path / "out")["endings"]
    assert calls == [12, 12, 12, 8] and again.metrics == whole.metrics
