"""Math tasks put to a stand-in for a model: what is asked, judged, counted and written."""

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console
from stand_in import TOKENIZER, Always, Says, ask

from math_qwen.evaluation.tasks import LEVEL1
from math_qwen.recipe import MathEvaluation
from qwen_shared.errors import UserError
from qwen_shared.evaluation.results import answer_rows, results_table
from qwen_shared.evaluation.run import named_metrics
from qwen_shared.generation.sampling import Completion


def settings(**keys):
    return MathEvaluation(interval=1, **keys)


def problems(tmp_path, *golds, **columns):
    path = tmp_path / "problems.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"Question number {i}?", "answer": f"#### {gold}"} | columns) + "\n"
            for i, gold in enumerate(golds)
        )
    )
    return f"gsm8k:{path}"


def test_metrics(tmp_path):
    generate = Says("It is 4.\n#### 4", "The answer is 5.", "no idea", "12.00001", cut={2})
    results = ask(generate, [problems(tmp_path, 4, 6, 7, 12)], settings(), "chat")
    metrics = results["gsm8k"].metrics
    assert metrics["problems"] == 4 and sum(metrics[outcome] for outcome in LEVEL1.outcomes) == 4
    assert metrics["accuracy"] == metrics["right"] / 4 == 0.25  # 12.00001 is not 12 …
    assert metrics["loose_accuracy"] == 0.5  # … but by the published rule
    assert metrics["accuracy_low"] < 0.25 < metrics["accuracy_high"]
    assert metrics["cut"] == 0.25 and metrics["tokens"] > 1
    assert named_metrics(results)["eval/gsm8k/accuracy"] == 0.25
    ((prompts, sampling),) = generate.asked
    assert len(prompts) == 4 and sampling.temperature == 0 and sampling.stop_texts == ()


def test_every_answer_is_written(tmp_path):
    task = problems(tmp_path, 4, 6, family="sums")
    ask(Says("#### 4", "#### 5"), [task], settings(), "chat", "Count.", tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "gsm8k.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["right", "wrong"]
    first = rows[0]
    assert first["question"] == "Question number 0?" and first["gold"] == "4" and first["completion"] == "#### 4"
    assert first["prompt"].startswith("<|im_start|>system\nCount.<|im_end|>\n<|im_start|>user\n")
    assert first["reason"] and first["stopped"] and first["groups"] == {"family": "sums"} and first["loose"]


def test_base_answers_end_where_the_next_problem_begins(tmp_path):
    generate = Says("It is 4. The answer is 4.\n\nQuestion: What is 9?\n9")
    results = ask(generate, [problems(tmp_path, 4)], settings(shots=2), "base")
    assert results["gsm8k"].rows[0]["completion"] == "It is 4. The answer is 4."
    assert results["gsm8k"].metrics["accuracy"] == 1
    ((prompts, sampling),) = generate.asked
    assert sampling.stop_texts == ("\n\n", "Question:") and TOKENIZER.decode(prompts[0]).count("Question:") == 3


def test_several_samples_vote(tmp_path):
    generate = Says("#### 4", "#### 5", "#### 4", "#### 6", "#### 7", "#### 7")
    wanted = settings(samples=3, temperature=0.5, top_p=0.9, seed=3)
    result = ask(generate, [problems(tmp_path, 4, 6)], wanted, "chat")["gsm8k"]
    assert result.metrics["accuracy"] == pytest.approx(0.5)  # 2 of 3 and 1 of 3
    assert result.metrics["majority@3"] == 0.5
    assert result.metrics["problems"] == 2 and result.metrics["right"] == 3
    assert [row["sample"] for row in result.rows] == [0, 1, 2, 0, 1, 2]
    ((prompts, sampling),) = generate.asked
    assert prompts[0] == prompts[2] != prompts[3]
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 3)


def test_accuracy_by_group(tmp_path):
    path = tmp_path / "problems.jsonl"
    rows = [{"question": f"q{i}", "answer": "#### 1", "family": "ab"[i % 2], "level": 1} for i in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = Says("#### 1", "#### 1", "#### 1", "#### 2")
    result = ask(answers, [f"gsm8k:{path}"], settings(), "chat")["gsm8k"]
    assert result.groups == {
        "family": {"a": {"problems": 2, "accuracy": 1.0}, "b": {"problems": 2, "accuracy": 0.5}}
    }  # one level alone is no breakdown


def test_math401_is_judged_by_its_own_rule(tmp_path):
    path = tmp_path / "math401.jsonl"
    rows = [
        {"query": "1/3=", "response": "0.3333"},
        {"query": "2+2=", "response": "4"},
        {"query": "pi", "response": "3.1415"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = Says("0.33333", "I pass", "6.283")
    metrics = ask(answers, [f"math401:{path}"], settings(), "chat")["math401"].metrics
    assert metrics["accuracy"] == pytest.approx(1 / 3) and metrics["unparsable"] == 1 and metrics["wrong"] == 1
    assert metrics["non_number"] == pytest.approx(1 / 3)
    assert metrics["relative_error"] == pytest.approx((0.00003 + 10 + 1) / 3, abs=1e-3)


def test_limit_and_several_tasks(tmp_path):
    model = Always(Completion([5], stopped=True))
    results = ask(model, ["level1", "level2", problems(tmp_path, 1, 2, 3)], settings(limit=2))
    assert [len(prompts) for prompts, _ in model.asked] == [2, 2, 2]
    assert list(results) == ["level1", "level2", "gsm8k"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results, "all"))
    text = console.export_text()
    assert text.count("level2") == 2 and all(outcome in text for outcome in LEVEL1.outcomes) and "…" in text
    assert set(answer_rows(results["level1"])[0]) >= {"question", "completion", "gold", "outcome", "reason", "family"}


def test_mistakes_show_before_anything_is_answered(tmp_path):
    model = Says()
    with pytest.raises(UserError, match="no such file"):
        ask(model, ["level1", "math:/no/file"], settings())
    with pytest.raises(UserError, match="shots"):
        ask(model, ["level1"], settings(shots=50), "base")
    assert not model.asked


def test_prompts_that_fill_the_model(tmp_path):
    with pytest.raises(UserError, match="leave no room in the model's positions"):
        ask(Always(Completion([], stopped=False)), [problems(tmp_path, 1)], settings(), "base")


def test_with_a_model(tmp_path):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from qwen_shared.generation.decode import generator

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=8320, num_key_value_heads=2, **sizes)).eval()
    asked = [
        SimpleNamespace(tokenizer=TOKENIZER, weights="model", generate=generator(model, TOKENIZER, size))
        for size in (None, 3)
    ]
    wanted = settings(limit=8, max_new_tokens=6)
    whole = ask(asked[0], ["level1"], wanted, output=tmp_path)["level1"]
    assert whole.metrics["problems"] == 8 and (tmp_path / "level1.jsonl").is_file()
    assert ask(asked[1], ["level1"], wanted)["level1"].rows == whole.rows


def test_metric_names_are_known_before(tmp_path):
    wanted = settings(samples=2, temperature=0.5)
    path = tmp_path / "math401.jsonl"
    path.write_text('{"query": "1/3=", "response": "0.3333"}\n')
    names = [problems(tmp_path, 4), f"math401:{path}"]
    for result in ask(Says(*["4"] * 4), names, wanted).values():
        assert set(result.task.metric_names(wanted)) == set(result.metrics)
