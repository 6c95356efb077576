"""An evaluation with a stand-in for the model that says known texts: what is asked, counted and written."""

import io
import json

import pytest
from rich.console import Console

from math_qwen.evaluation.command import answer_rows, described, table
from math_qwen.evaluation.run import evaluate, evaluate_problems, named_figures
from math_qwen.evaluation.settings import Evaluation
from math_qwen.evaluation.tasks import OUTCOMES
from qwen_shared.errors import UserError
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


def settings(**keys):
    return Evaluation(interval=1, **keys)


def problems(tmp_path, *golds, **columns):
    path = tmp_path / "problems.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"Question number {i}?", "answer": f"#### {gold}"} | columns) + "\n"
            for i, gold in enumerate(golds)
        )
    )
    return f"gsm8k:{path}"


def says(*texts, cut=()):
    """A `Generate` that answers with these texts in order; those whose places are in `cut` do not stop."""

    def generate(prompts, sampling, progress):
        generate.asked.append((prompts, sampling))
        progress(len(prompts), len(prompts))
        return [
            Completion(TOKENIZER.encode(text), stopped=i not in cut)
            for i, (_, text) in enumerate(zip(prompts, texts, strict=True))
        ]

    generate.asked = []
    return generate


def test_figures(tmp_path):
    generate = says("It is 4.\n#### 4", "The answer is 5.", "no idea", "12.00001", cut={2})
    results = evaluate(generate, TOKENIZER, [problems(tmp_path, 4, 6, 7, 12)], settings(), "chat")
    figures = results["gsm8k"].figures
    assert figures["problems"] == 4 and sum(figures[outcome] for outcome in OUTCOMES) == 4
    assert figures["accuracy"] == figures["right"] / 4 == 0.25  # 12.00001 is not 12 …
    assert figures["loose_accuracy"] == 0.5  # … but by the published rule
    assert figures["accuracy_low"] < 0.25 < figures["accuracy_high"]
    assert figures["cut"] == 0.25 and figures["tokens"] > 1
    assert named_figures(results)["eval/gsm8k/accuracy"] == 0.25
    ((prompts, sampling),) = generate.asked
    assert len(prompts) == 4 and sampling.temperature == 0 and sampling.stop_texts == ()


def test_every_answer_is_written(tmp_path):
    task = problems(tmp_path, 4, 6, family="sums")
    evaluate(says("#### 4", "#### 5"), TOKENIZER, [task], settings(), "chat", "Count.", tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "gsm8k.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["right", "wrong"]
    first = rows[0]
    assert first["question"] == "Question number 0?" and first["gold"] == "4" and first["prediction"] == "#### 4"
    assert first["prompt"].startswith("<|im_start|>system\nCount.<|im_end|>\n<|im_start|>user\n")
    assert first["reason"] and first["stopped"] and first["family"] == "sums" and first["loose"]


def test_base_answers_end_where_the_next_problem_begins(tmp_path):
    generate = says("It is 4. The answer is 4.\n\nQuestion: What is 9?\n9")
    results = evaluate(generate, TOKENIZER, [problems(tmp_path, 4)], settings(shots=2), "base")
    assert results["gsm8k"].rows[0]["prediction"] == "It is 4. The answer is 4."
    assert results["gsm8k"].figures["accuracy"] == 1
    ((prompts, sampling),) = generate.asked
    assert sampling.stop_texts == ("\n\n", "Question:") and TOKENIZER.decode(prompts[0]).count("Question:") == 3


def test_several_samples_vote(tmp_path):
    generate = says("#### 4", "#### 5", "#### 4", "#### 6", "#### 7", "#### 7")
    wanted = settings(samples=3, temperature=0.5, top_p=0.9, seed=3)
    result = evaluate(generate, TOKENIZER, [problems(tmp_path, 4, 6)], wanted, "chat")["gsm8k"]
    assert result.figures["accuracy"] == pytest.approx(0.5)  # 2 of 3 and 1 of 3
    assert result.figures["majority@3"] == 0.5
    assert result.figures["problems"] == 2 and result.figures["right"] == 3
    assert [row["sample"] for row in result.rows] == [0, 1, 2, 0, 1, 2]
    ((prompts, sampling),) = generate.asked
    assert prompts[0] == prompts[2] != prompts[3]
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 3)


def test_accuracy_by_group(tmp_path):
    path = tmp_path / "problems.jsonl"
    rows = [{"question": f"q{i}", "answer": "#### 1", "family": "ab"[i % 2], "level": 1} for i in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = says("#### 1", "#### 1", "#### 1", "#### 2")
    result = evaluate(answers, TOKENIZER, [f"gsm8k:{path}"], settings(), "chat")["gsm8k"]
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
    answers = says("0.33333", "I pass", "6.283")
    figures = evaluate(answers, TOKENIZER, [f"math401:{path}"], settings(), "chat")["math401"].figures
    assert figures["accuracy"] == pytest.approx(1 / 3) and figures["unparsable"] == 1 and figures["wrong"] == 1
    assert figures["non_number"] == pytest.approx(1 / 3)
    assert figures["relative_error"] == pytest.approx((0.00003 + 10 + 1) / 3, abs=1e-3)


def test_limit_and_several_tasks(tmp_path):
    answers = []

    def generate(prompts, sampling, progress):
        answers.append(len(prompts))
        return [Completion([5], stopped=True)] * len(prompts)

    results = evaluate(
        generate, TOKENIZER, ["level1", "level2", problems(tmp_path, 1, 2, 3)], settings(limit=2), "chat"
    )
    assert answers == [2, 2, 2] and list(results) == ["level1", "level2", "gsm8k"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(results, "all"))
    text = console.export_text()
    assert text.count("level2") == 2 and all(outcome in text for outcome in OUTCOMES) and "…" in text
    assert set(answer_rows(results["level1"])[0]) == {"question", "answer", "gold", "verdict", "reason"}


def test_mistakes_show_before_anything_is_answered(tmp_path):
    generate = says()
    with pytest.raises(UserError, match="no such file"):
        evaluate(generate, TOKENIZER, ["level1", "math:/no/file"], settings(), "chat")
    with pytest.raises(UserError, match="shots"):
        evaluate(generate, TOKENIZER, ["level1", "gsm8k"][:1], settings(shots=50), "base")
    assert not generate.asked


def test_prompts_that_fill_the_model(tmp_path):
    full = lambda prompts, sampling, progress: [Completion([], stopped=False)] * len(prompts)
    with pytest.raises(UserError, match="leave no room in the model's positions"):
        evaluate(full, TOKENIZER, [problems(tmp_path, 1)], settings(), "base")


def test_with_a_model(tmp_path):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=8320, num_key_value_heads=2, **sizes)).eval()
    results = evaluate_problems(model, TOKENIZER, ["level1"], settings(limit=8, max_new_tokens=6), output_dir=tmp_path)
    assert results["level1"].figures["problems"] == 8 and (tmp_path / "level1.jsonl").is_file()
    again = evaluate_problems(model, TOKENIZER, ["level1"], settings(limit=8, max_new_tokens=6, batch_size=3))
    assert again["level1"].rows == results["level1"].rows


def test_how_it_is_described():
    assert described(settings(), "chat") == "chat prompts, greedy, up to 512 tokens"
    assert "16 samples at temperature 0.7" in described(settings(samples=16, limit=5), None)
