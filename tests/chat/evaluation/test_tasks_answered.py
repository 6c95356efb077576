"""Dialogues put to a stand-in for a model: what is asked, judged, counted and written."""

import io
import json

import pytest
from rich.console import Console
from stand_in import TOKENIZER, Always, Says, ask

from qwen_chat import dialogues
from qwen_chat.evaluation.rewards import with_rewards
from qwen_shared.errors import UserError
from qwen_shared.evaluation.results import answer_rows, results_table
from qwen_shared.evaluation.run import named_metrics
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.generation.sampling import Completion


def settings(**keys):
    return EvaluationSettings(interval=1, **keys)


def references(count):
    return [dialogue.answer for dialogue in dialogues.held_out("dialogues")[:count]]


def test_reference_answers_are_right():
    result = ask(Says(*references(30)), ["dialogues"], settings(limit=30))["dialogues"]
    metrics = result.metrics
    assert metrics["problems"] == 30 and metrics["accuracy"] == metrics["ended"] == 1
    assert metrics["accuracy_low"] < 1 and metrics["accuracy_high"] == pytest.approx(1)
    assert 0 < metrics["preference"] < 4 and metrics["preference_std"] > 0
    assert metrics["tokens"] > 1 and metrics["characters"] > 1
    assert 0 < metrics["distinct_1"] < metrics["distinct_2"] <= 1 and metrics["repeated_4"] == 0
    languages = result.groups["language"]
    assert set(languages) == {"en", "zh"} and sum(f["problems"] for f in languages.values()) == 30
    assert "kind" not in result.groups  # one kind alone is no breakdown


def test_wrong_and_cut_answers(tmp_path):
    texts = [*references(3), "No idea.", ""]
    result = ask(Says(*texts, cut={4}), ["dialogues"], settings(limit=5), output=tmp_path)
    metrics = result["dialogues"].metrics
    assert metrics["accuracy"] == 0.6 and metrics["ended"] == 0.8
    rows = [json.loads(line) for line in (tmp_path / "dialogues.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["right"] * 3 + ["wrong"] * 2
    assert rows[4]["preference"] == dialogues.BROKEN and rows[3]["preference"] == dialogues.WRONG
    assert rows[0]["messages"][-1]["role"] == "user" and rows[0]["reference"] == texts[0]


def test_the_system_turn_is_that_of_prompts_without_one():
    asked = dialogues.held_out("dialogues")
    with_system = next(i for i, d in enumerate(asked) if d.system)
    generate = Says(*[""] * (with_system + 1))
    ask(generate, ["dialogues"], settings(limit=with_system + 1), system="Hm.")
    ((prompts, sampling),) = generate.asked
    assert sampling.temperature == 0
    for prompt, dialogue in zip(prompts, asked, strict=False):
        turns = dialogues.prompt(dialogue)
        wanted = turns if dialogue.system else [{"role": "system", "content": "Hm."}, *turns]
        assert prompt == TOKENIZER.render(wanted, add_generation_prompt=True)[0]


def test_several_samples_are_one_problem():
    one, other = references(2)
    generate = Says(one, "no", "no", other, other, other)
    result = ask(generate, ["dialogues"], settings(limit=2, samples=3, temperature=0.5, seed=3))
    assert result["dialogues"].metrics["problems"] == 2
    assert result["dialogues"].metrics["accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    ((prompts, sampling),) = generate.asked
    assert prompts[0] == prompts[2] != prompts[3] and (sampling.temperature, sampling.seed) == (0.5, 3)


def test_own_prompts_have_no_right_answers_but_rewards(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "One?", "kind": "a"}\n{"prompt": "Two?", "kind": "b"}\n{"prompt": "Three?"}\n')
    result = ask(Says("1", "2", "3 3"), [f"prompts:{path}"], settings())["mine"]
    assert "accuracy" not in result.metrics and "preference" not in result.metrics
    judged = []

    def score(conversations):
        judged.extend(conversations)
        return [float(conversation[-1]["content"][0]) for conversation in conversations]

    result = with_rewards(result, score, settings())
    assert result.metrics["reward"] == 2 and result.metrics["reward_std"] == pytest.approx((2 / 3) ** 0.5)
    assert judged[2] == [{"role": "user", "content": "Three?"}, {"role": "assistant", "content": "3 3"}]
    assert {kind: metrics["reward"] for kind, metrics in result.groups["kind"].items()} == {"a": 1, "b": 2}
    named = named_metrics({"mine": result})
    assert named["eval/mine/reward"] == 2 and named["eval/mine/b/reward"] == 2 and "eval/mine/b/accuracy" not in named
    assert shown({"mine": result}).count("right") == 0


def test_tables_fit_in_80_columns(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "One?"}\n')
    generate = Always(Completion(TOKENIZER.encode("[red]x"), True))
    results = ask(generate, ["dialogues", f"prompts:{path}"], settings())
    results = {name: with_rewards(result, lambda c: [-1.5] * len(c), settings()) for name, result in results.items()}
    text = shown(results)
    for word in ("95 %", "preference", "reward", "distinct-2", "repeated-4", "dialogues/zh", "dialogues/greeting"):
        assert word in text, word
    assert max(map(len, text.splitlines())) <= 80 and "…" in text
    named = named_metrics(results)
    assert named["eval/dialogues/accuracy"] == results["dialogues"].metrics["accuracy"]
    assert "eval/dialogues/greeting/accuracy" in named
    assert "One?" in answer_rows(results["mine"])[0]["prompt"]


def shown(results):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results, "all [bold]of them[/bold]"))
    return console.export_text()


def test_mistakes_show_before_anything_is_answered():
    generate = Says()
    with pytest.raises(UserError, match="no such task"):
        ask(generate, ["dialogues", "nothing"], settings())
    assert not generate.asked
    full = Always(Completion([], stopped=False))
    with pytest.raises(UserError, match="leave no room"):
        ask(full, ["dialogues"], settings(limit=2))
