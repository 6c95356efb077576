"""An evaluation with a stand-in for the model that says known texts: what is asked, counted and written."""

import io
import json

import pytest
from rich.console import Console

from qwen_chat import dialogues
from qwen_chat.evaluation.run import evaluate, named_figures, with_rewards
from qwen_chat.evaluation.tables import answer_rows, table
from qwen_shared.errors import UserError
from qwen_shared.evaluation.settings import Evaluation
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


def settings(**keys):
    return Evaluation(interval=1, **keys)


def says(*texts, cut=()):
    """A `Generate` that answers with these texts in order; those whose places are in `cut` do not end."""

    def generate(prompts, sampling, progress):
        generate.asked.append((prompts, sampling))
        return [
            Completion(TOKENIZER.encode(text), stopped=i not in cut)
            for i, (_, text) in enumerate(zip(prompts, texts, strict=True))
        ]

    generate.asked = []
    return generate


def references(count):
    return [dialogue.answer for dialogue in dialogues.held_out("dialogues")[:count]]


def test_reference_answers_are_right():
    result = evaluate(says(*references(30)), TOKENIZER, ["dialogues"], settings(limit=30))["dialogues"]
    figures = result.figures
    assert figures["problems"] == 30 and figures["accuracy"] == figures["ended"] == 1
    assert figures["accuracy_low"] < 1 and figures["accuracy_high"] == pytest.approx(1)
    assert 0 < figures["preference"] < 4 and figures["preference_std"] > 0
    assert figures["tokens"] > 1 and figures["characters"] > 1
    assert 0 < figures["distinct_1"] < figures["distinct_2"] <= 1 and figures["repeated_4"] == 0
    languages = result.groups["language"]
    assert set(languages) == {"en", "zh"} and sum(f["problems"] for f in languages.values()) == 30
    assert "kind" not in result.groups  # one kind alone is no breakdown


def test_wrong_and_cut_answers(tmp_path):
    texts = [*references(3), "No idea.", ""]
    result = evaluate(says(*texts, cut={4}), TOKENIZER, ["dialogues"], settings(limit=5), output_dir=tmp_path)
    figures = result["dialogues"].figures
    assert figures["accuracy"] == 0.6 and figures["ended"] == 0.8
    rows = [json.loads(line) for line in (tmp_path / "dialogues.jsonl").read_text().splitlines()]
    assert [row["right"] for row in rows] == [True, True, True, False, False]
    assert rows[4]["preference"] == dialogues.BROKEN and rows[3]["preference"] == dialogues.WRONG
    assert rows[0]["prompt"][-1]["role"] == "user" and rows[0]["reference"] == texts[0]


def test_the_system_turn_is_that_of_prompts_without_one():
    asked = dialogues.held_out("dialogues")
    with_system = next(i for i, d in enumerate(asked) if d.system)
    generate = says(*[""] * (with_system + 1))
    evaluate(generate, TOKENIZER, ["dialogues"], settings(limit=with_system + 1), system="Hm.")
    ((prompts, sampling),) = generate.asked
    assert sampling.temperature == 0
    for prompt, dialogue in zip(prompts, asked, strict=False):
        turns = dialogues.prompt(dialogue)
        wanted = turns if dialogue.system else [{"role": "system", "content": "Hm."}, *turns]
        assert prompt == TOKENIZER.render(wanted, add_generation_prompt=True)[0]


def test_several_samples_are_one_problem():
    one, other = references(2)
    generate = says(one, "no", "no", other, other, other)
    result = evaluate(generate, TOKENIZER, ["dialogues"], settings(limit=2, samples=3, temperature=0.5, seed=3))
    assert result["dialogues"].figures["problems"] == 2
    assert result["dialogues"].figures["accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    ((prompts, sampling),) = generate.asked
    assert prompts[0] == prompts[2] != prompts[3] and (sampling.temperature, sampling.seed) == (0.5, 3)


def test_own_prompts_have_no_right_answers_but_rewards(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "One?", "kind": "a"}\n{"prompt": "Two?", "kind": "b"}\n{"prompt": "Three?"}\n')
    result = evaluate(says("1", "2", "3 3"), TOKENIZER, [str(path)], settings())["mine"]
    assert "accuracy" not in result.figures and "preference" not in result.figures
    judged = []

    def score(conversations):
        judged.extend(conversations)
        return [float(conversation[-1]["content"][0]) for conversation in conversations]

    result = with_rewards(result, score)
    assert result.figures["reward"] == 2 and result.figures["reward_std"] == pytest.approx((2 / 3) ** 0.5)
    assert judged[2] == [{"role": "user", "content": "Three?"}, {"role": "assistant", "content": "3 3"}]
    assert {kind: figures["reward"] for kind, figures in result.groups["kind"].items()} == {"a": 1, "b": 2}
    named = named_figures({"mine": result})
    assert named["eval/mine/reward"] == 2 and named["eval/mine/b/reward"] == 2 and "eval/mine/b/accuracy" not in named
    assert shown({"mine": result}).count("right") == 0


def test_tables_fit_in_80_columns(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "One?"}\n')
    generate = lambda prompts, sampling, progress: [Completion(TOKENIZER.encode("[red]x"), True)] * len(prompts)
    results = evaluate(generate, TOKENIZER, ["dialogues", str(path)], settings())
    results = {name: with_rewards(result, lambda c: [-1.5] * len(c)) for name, result in results.items()}
    text = shown(results)
    for word in ("95 %", "preference", "reward", "distinct-2", "repeated-4", "dialogues/zh", "dialogues/greeting"):
        assert word in text, word
    assert max(map(len, text.splitlines())) <= 80 and "…" in text
    named = named_figures(results)
    assert named["eval/dialogues/accuracy"] == results["dialogues"].figures["accuracy"]
    assert "eval/dialogues/greeting/accuracy" in named
    assert answer_rows(results["mine"])[0]["prompt"] == "user: One?"


def shown(results):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(results, "all [bold]of them[/bold]"))
    return console.export_text()


def test_mistakes_show_before_anything_is_answered():
    generate = says()
    with pytest.raises(UserError, match="there is: dialogues"):
        evaluate(generate, TOKENIZER, ["dialogues", "nothing"], settings())
    assert not generate.asked
    full = lambda prompts, sampling, progress: [Completion([], stopped=False)] * len(prompts)
    with pytest.raises(UserError, match="leave no room"):
        evaluate(full, TOKENIZER, ["dialogues"], settings(limit=2))
