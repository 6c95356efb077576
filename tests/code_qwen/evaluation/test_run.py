"""An evaluation with a stand-in for the model that says known texts, and the real sandbox."""

import io
import json

import pytest
from rich.console import Console

from code_qwen.evaluation.command import answer_rows, described, table
from code_qwen.evaluation.run import evaluate, named_figures
from code_qwen.evaluation.settings import Evaluation
from code_qwen.evaluation.tasks import OUTCOMES
from qwen_shared.errors import UserError
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer

pytestmark = pytest.mark.heavy  # programs run in the sandbox

TOKENIZER = load_tokenizer("default")
HELPER = "import math\n\n\ndef half(n):\n    return n / 2\n"
HEAD = HELPER + '\n\ndef area{i}(r):\n    """ Half a circle of radius r.\n    """\n'
TEST = "def check(candidate):\n    assert abs(candidate(4) - half(16 * math.pi)) < 1e-9\n    assert candidate(0) == 0\n"
RIGHT = "    return half(math.pi * r * r)\n"
WRONG = "    return math.pi * r\n"


def settings(**keys):
    return Evaluation(interval=1, timeout=5.0, **keys)


def problems(tmp_path, count):
    path = tmp_path / "problems.jsonl"
    rows = [
        {"task_id": f"T/{i}", "prompt": HEAD.format(i=i), "entry_point": f"area{i}", "test": TEST} for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"humaneval:{path}"


def says(*texts, cut=()):
    """A `Generate` that answers with these texts in order; those whose places are in `cut` do not stop."""

    def generate(prompts, sampling, progress):
        said = sum(len(asked) for asked, _ in generate.asked)
        generate.asked.append((prompts, sampling))
        progress(len(prompts), len(prompts))
        return [Completion(TOKENIZER.encode(texts[i]), stopped=i not in cut) for i in range(said, said + len(prompts))]

    generate.asked = []
    return generate


def test_a_base_model_goes_on_with_the_code(tmp_path):
    answers = says(RIGHT + "\ndef more():\n    return 1", WRONG, "    return (", RIGHT + "\nprint(area(3)", cut={2})
    results = evaluate(answers, TOKENIZER, [problems(tmp_path, 4)], settings(), "base")
    figures, rows = results["humaneval"].figures, results["humaneval"].rows
    assert [row["outcome"] for row in rows] == ["passed", "failed", "failed", "passed"]
    assert figures["problems"] == 4 and figures["pass@1"] == 0.5 and figures["passed"] == figures["failed"] == 2
    assert figures["pass@1_low"] < 0.5 < figures["pass@1_high"] and figures["cut"] == 0.25
    assert sum(figures[outcome] for outcome in OUTCOMES) == 4
    assert rows[0]["completion"] == RIGHT.rstrip("\n") + "\n" and rows[0]["program"].startswith("import math")
    assert rows[0]["task_id"] == "T/0" and rows[0]["prompt"] == HEAD.format(i=0) and rows[1]["reason"]
    ((prompts, sampling),) = answers.asked
    assert len(prompts) == 4 and sampling.temperature == 0 and "\ndef" in sampling.stop_texts
    assert named_figures(results)["eval/humaneval/pass@1"] == 0.5


def test_a_chat_model_answers_in_words(tmp_path):
    whole = "def area{}(r):\n" + RIGHT
    answers = says(
        f"Here it is:\n```python\n{whole.format(0)}```\nIt uses `half`.",
        f"```\n{RIGHT}```",
        whole.format(2),
        RIGHT.strip(),
        f"```python\n{whole.format(0)}```",  # another function than was asked for
        "I do not know.",
    )
    result = evaluate(answers, TOKENIZER, [problems(tmp_path, 6)], settings(), "chat", "Write code.")["humaneval"]
    assert [row["outcome"] for row in result.rows] == ["passed"] * 4 + ["failed"] * 2
    assert result.rows[0]["prompt"].startswith(
        "<|im_start|>system\nWrite code.<|im_end|>\n<|im_start|>user\nWrite a Py"
    )
    assert answers.asked[0][1].stop_texts == ()


def test_what_ends_or_deceives_a_test_does_not_pass(tmp_path):
    answers = says(
        "    import os\n    os._exit(0)\n",
        "    while True:\n        pass\n",
        "    class Same(float):\n        __eq__ = __lt__ = __sub__ = __abs__ = lambda *a: True\n    return Same()\n",
    )
    result = evaluate(answers, TOKENIZER, [problems(tmp_path, 3)], Evaluation(interval=1, timeout=1.0), "base")
    assert [row["outcome"] == "passed" for row in result["humaneval"].rows] == [False] * 3
    assert result["humaneval"].figures["timeout"] == 1


def test_pass_at_k(tmp_path):
    answers = says(RIGHT, WRONG, WRONG, WRONG, *[WRONG] * 4)
    wanted = settings(samples=4, temperature=0.5, top_p=0.9, seed=3, k=[1, 2, 4, 10])
    result = evaluate(answers, TOKENIZER, [problems(tmp_path, 2)], wanted, "base")["humaneval"]
    figures = result.figures
    assert figures["pass@1"] == pytest.approx(1 / 8)
    assert figures["pass@2"] == pytest.approx((1 - 3 / 6) / 2)  # 3 of the 6 pairs of four have the right one
    assert figures["pass@4"] == 0.5 and "pass@10" not in figures
    assert figures["problems"] == 2 and figures["passed"] == 1 and figures["failed"] == 7
    assert [row["sample"] for row in result.rows] == [0, 1, 2, 3] * 2
    ((prompts, sampling),) = answers.asked
    assert prompts[0] == prompts[3] != prompts[4]
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 3 << 24)


def test_mbpp(tmp_path):
    path = tmp_path / "mbpp.jsonl"
    row = {"text": "Double it.", "code": "def double(x): return 2 * x", "test_list": ["assert double(2) == 4"]}
    path.write_text("".join(json.dumps(row | {"task_id": i}) + "\n" for i in (11, 12)))
    answers = says("def double(x):\n    return x + x\n[DONE]\n\nYou", "def triple(x):\n    return 3 * x\n[DONE]")
    result = evaluate(answers, TOKENIZER, [f"mbpp:{path}"], settings(), "base")["mbpp"]
    assert [row["outcome"] for row in result.rows] == ["passed", "failed"]
    assert result.rows[0]["program"] == "def double(x):\n    return x + x\n"
    assert result.rows[0]["prompt"].count("[BEGIN]") == 4


def test_embedded_tasks_are_solved_by_their_solutions():
    """In either form, said as the training conversations say it; and figures by family."""
    from code_qwen.problems import held_out, messages

    made = held_out("functions")[:30]
    answers = says(*(messages(task)[-1]["content"] for task in made[:-2]), "pass", "")
    results = evaluate(answers, TOKENIZER, ["functions"], settings(limit=30), "chat")
    figures = named_figures(results)
    assert figures["eval/functions/pass@1"] == pytest.approx(28 / 30)
    families = {task.family for task in made}
    assert {f"eval/functions/{family}/pass@1" for family in families} <= set(figures)
    assert figures[f"eval/functions/{made[0].family}/pass@1"] == 1.0
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(results, "all"))
    text = console.export_text()
    assert all(f"functions/{family}" in text for family in families) and all(word in text for word in OUTCOMES)
    assert set(answer_rows(results["functions"])[0]) >= {"prompt", "completion", "outcome"}


def test_embedded_tasks_are_solved_in_base_style():
    from code_qwen.problems import held_out

    made = held_out("compositions")[:8]
    rest = [
        task.solution.partition("\n")[2]
        if task.form == "docstring"
        else task.solution.removeprefix(f"def {task.entry_point}")
        for task in made
    ]
    result = evaluate(says(*rest), TOKENIZER, ["compositions"], settings(limit=8), "base")["compositions"]
    assert result.figures["pass@1"] == 1.0


def test_a_stopped_evaluation_goes_on(tmp_path, monkeypatch):
    from code_qwen.evaluation import run

    monkeypatch.setattr(run, "_AT_ONCE", 2)
    texts = [RIGHT, WRONG, RIGHT, RIGHT, WRONG]
    task, out = problems(tmp_path, 5), tmp_path / "out"
    whole = evaluate(says(*texts), TOKENIZER, [task], settings(), "base", None, tmp_path / "whole", "model")
    answers = says(*texts)

    def stops(prompts, sampling, progress):
        if len(answers.asked) == 2:
            raise KeyboardInterrupt
        return answers(prompts, sampling, progress)

    with pytest.raises(KeyboardInterrupt):
        evaluate(stops, TOKENIZER, [task], settings(), "base", None, out, "model")
    assert not (out / "humaneval.jsonl").exists()
    last = says(texts[-1])
    again = evaluate(last, TOKENIZER, [task], settings(), "base", None, out, "model")
    assert [len(prompts) for prompts, _ in last.asked] == [1]  # what was done before was not asked again
    assert again["humaneval"].figures == whole["humaneval"].figures
    assert [path.name for path in out.iterdir()] == ["humaneval.jsonl"]
    rows = [json.loads(line) for line in (out / "humaneval.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == [row["outcome"] for row in whole["humaneval"].rows]
    other = says(*texts)
    evaluate(other, TOKENIZER, [task], settings(), "base", None, out, "another model")
    assert len(other.asked) == 3


def test_mistakes_show_before_anything_is_answered(tmp_path):
    answers = says()
    with pytest.raises(UserError, match="no such file"):
        evaluate(answers, TOKENIZER, ["functions", "mbpp:/no/file"], settings(), "chat")
    (tmp_path / "bad.jsonl").write_text('{"task_id": 1}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl line 1"):
        evaluate(answers, TOKENIZER, ["functions", f"humaneval:{tmp_path / 'bad.jsonl'}"], settings(), "chat")
    assert not answers.asked


def test_prompts_that_fill_the_model(tmp_path):
    full = lambda prompts, sampling, progress: [Completion([], stopped=False)] * len(prompts)
    with pytest.raises(UserError, match="leave no room in the model's positions"):
        evaluate(full, TOKENIZER, [problems(tmp_path, 1)], settings(), "base")


def test_how_it_is_described():
    assert described(settings(), "chat") == "chat prompts, greedy, up to 512 tokens"
    assert "20 samples at temperature 0.8, top_p 0.95" in described(settings(samples=20, limit=5), None)


def test_humanevalpack(tmp_path):
    declaration = "def scale(xs, k=2):\n"
    row = {
        "task_id": "Python/0",
        "prompt": declaration + '    """ Multiply each x by k. """\n',
        "declaration": declaration,
        "buggy_solution": "    return [k + x for x in xs]\n",
        "entry_point": "scale",
        "test": "\n\ndef check(scale):\n    assert scale([1, 2], 3) == [3, 6]\n\ncheck(scale)",
        "instruction": "Write a Python function `scale(xs, k=2)` to solve the following problem:\nMultiply each.",
    }
    path = tmp_path / "pack.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"task_id": "Python/1"}) + "\n")
    tasks = [f"humanevalpack:{path}", f"humanevalfix:{path}"]
    body = "    return [math.prod((k, x)) for x in xs]\n"  # what HumanEvalPack imports need not be imported
    base = evaluate(says(body, row["buggy_solution"], body, "    pass\n"), TOKENIZER, tasks, settings(), "base")
    whole = f"```python\n{declaration}{body}```"
    chat = evaluate(says(whole, body.strip(), whole, body.strip()), TOKENIZER, tasks, settings(), "chat")
    for name in ("humanevalpack", "humanevalfix"):
        assert [row["outcome"] for row in base[name].rows] == ["passed", "failed"]
        assert [row["outcome"] for row in chat[name].rows] == ["passed", "passed"]


def test_with_a_model():
    """Batches through a KV cache; what comes out does not depend on their size."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from qwen_shared.generation.decode import generator

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=8320, num_key_value_heads=2, **sizes)).eval()
    wanted = settings(limit=6, max_new_tokens=6)
    one, all = (
        evaluate(generator(model, TOKENIZER, size), TOKENIZER, ["functions"], wanted, "chat")["functions"]
        for size in (1, None)
    )
    assert one.figures == all.figures and one.rows == all.rows
