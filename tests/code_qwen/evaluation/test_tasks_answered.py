"""Code tasks put to a stand-in for a model: what is asked, run in the real sandbox, counted and written."""

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console
from stand_in import TOKENIZER, Always, Says, ask

from code_qwen.evaluation.tasks import CodeTask
from code_qwen.recipe import CodeEvaluation
from qwen_shared.errors import UserError
from qwen_shared.evaluation.results import answer_rows, results_table
from qwen_shared.evaluation.run import named_metrics
from qwen_shared.generation.sampling import Completion

pytestmark = pytest.mark.heavy  # programs run in the sandbox

OUTCOMES = CodeTask.outcomes
HELPER = "import math\n\n\ndef half(n):\n    return n / 2\n"
HEAD = HELPER + '\n\ndef area{i}(r):\n    """ Half a circle of radius r.\n    """\n'
TEST = "def check(candidate):\n    assert abs(candidate(4) - half(16 * math.pi)) < 1e-9\n    assert candidate(0) == 0\n"
RIGHT = "    return half(math.pi * r * r)\n"
WRONG = "    return math.pi * r\n"


def settings(**keys):
    return CodeEvaluation(interval=1, timeout=5.0, **keys)


def problems(tmp_path, count):
    path = tmp_path / "problems.jsonl"
    rows = [
        {"task_id": f"T/{i}", "prompt": HEAD.format(i=i), "entry_point": f"area{i}", "test": TEST} for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"humaneval:{path}"


def test_a_base_model_goes_on_with_the_code(tmp_path):
    answers = Says(RIGHT + "\ndef more():\n    return 1", WRONG, "    return (", RIGHT + "\nprint(area(3)", cut={2})
    results = ask(answers, [problems(tmp_path, 4)], settings(), "base")
    metrics, rows = results["humaneval"].metrics, results["humaneval"].rows
    assert [row["outcome"] for row in rows] == ["passed", "failed", "failed", "passed"]
    assert metrics["problems"] == 4 and metrics["pass@1"] == 0.5 and metrics["passed"] == metrics["failed"] == 2
    assert metrics["pass@1_low"] < 0.5 < metrics["pass@1_high"] and metrics["cut"] == 0.25
    assert sum(metrics[outcome] for outcome in OUTCOMES) == 4
    assert rows[0]["completion"] == RIGHT.rstrip("\n") + "\n" and rows[0]["program"].startswith("import math")
    assert rows[0]["task_id"] == "T/0" and rows[0]["prompt"] == HEAD.format(i=0) and rows[1]["reason"]
    ((prompts, sampling),) = answers.asked
    assert len(prompts) == 4 and sampling.temperature == 0 and "\ndef" in sampling.stop_texts
    assert named_metrics(results)["eval/humaneval/pass@1"] == 0.5


def test_a_chat_model_answers_in_words(tmp_path):
    whole = "def area{}(r):\n" + RIGHT
    answers = Says(
        f"Here it is:\n```python\n{whole.format(0)}```\nIt uses `half`.",
        f"```\n{RIGHT}```",
        whole.format(2),
        RIGHT.strip(),
        f"```python\n{whole.format(0)}```",  # another function than was asked for
        "I do not know.",
    )
    result = ask(answers, [problems(tmp_path, 6)], settings(), "chat", "Write code.")["humaneval"]
    assert [row["outcome"] for row in result.rows] == ["passed"] * 4 + ["failed"] * 2
    assert result.rows[0]["prompt"].startswith(
        "<|im_start|>system\nWrite code.<|im_end|>\n<|im_start|>user\nWrite a Py"
    )
    assert answers.asked[0][1].stop_texts == ()


def test_what_ends_or_deceives_a_test_does_not_pass(tmp_path):
    answers = Says(
        "    import os\n    os._exit(0)\n",
        "    while True:\n        pass\n",
        "    class Same(float):\n        __eq__ = __lt__ = __sub__ = __abs__ = lambda *a: True\n    return Same()\n",
    )
    result = ask(answers, [problems(tmp_path, 3)], CodeEvaluation(interval=1, timeout=1.0), "base")
    assert [row["outcome"] == "passed" for row in result["humaneval"].rows] == [False] * 3
    assert result["humaneval"].metrics["timeout"] == 1


def test_pass_at_k(tmp_path):
    answers = Says(RIGHT, WRONG, WRONG, WRONG, *[WRONG] * 4)
    wanted = settings(samples=4, temperature=0.5, top_p=0.9, seed=3, k=[1, 2, 4, 10])
    result = ask(answers, [problems(tmp_path, 2)], wanted, "base")["humaneval"]
    metrics = result.metrics
    assert metrics["pass@1"] == pytest.approx(1 / 8)
    assert metrics["pass@2"] == pytest.approx((1 - 3 / 6) / 2)  # 3 of the 6 pairs of four have the right one
    assert metrics["pass@4"] == 0.5 and "pass@10" not in metrics
    assert metrics["problems"] == 2 and metrics["passed"] == 1 and metrics["failed"] == 7
    assert [row["sample"] for row in result.rows] == [0, 1, 2, 3] * 2
    ((prompts, sampling),) = answers.asked
    assert prompts[0] == prompts[3] != prompts[4]
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 3 << 24)


def test_mbpp(tmp_path):
    path = tmp_path / "mbpp.jsonl"
    row = {"text": "Double it.", "code": "def double(x): return 2 * x", "test_list": ["assert double(2) == 4"]}
    path.write_text("".join(json.dumps(row | {"task_id": i}) + "\n" for i in (11, 12)))
    answers = Says("def double(x):\n    return x + x\n[DONE]\n\nYou", "def triple(x):\n    return 3 * x\n[DONE]")
    result = ask(answers, [f"mbpp:{path}"], settings(), "base")["mbpp"]
    assert [row["outcome"] for row in result.rows] == ["passed", "failed"]
    assert result.rows[0]["program"] == "def double(x):\n    return x + x\n"
    assert result.rows[0]["prompt"].count("[BEGIN]") == 4


def test_embedded_tasks_are_solved_by_their_solutions():
    """In either form, said as the training conversations say it; and metrics by family."""
    from code_qwen.problems import held_out, messages

    made = held_out("functions")[:30]
    answers = Says(*(messages(task)[-1]["content"] for task in made[:-2]), "pass", "")
    results = ask(answers, ["functions"], settings(limit=30), "chat")
    metrics = named_metrics(results)
    assert metrics["eval/functions/pass@1"] == pytest.approx(28 / 30)
    families = {task.family for task in made}
    assert {f"eval/functions/{family}/pass@1" for family in families} <= set(metrics)
    assert metrics[f"eval/functions/{made[0].family}/pass@1"] == 1.0
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table(results, "all"))
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
    result = ask(Says(*rest), ["compositions"], settings(limit=8), "base")["compositions"]
    assert result.metrics["pass@1"] == 1.0


def test_a_stopped_evaluation_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(CodeTask, "part_size", 2)
    texts = [RIGHT, WRONG, RIGHT, RIGHT, WRONG]
    task, out = problems(tmp_path, 5), tmp_path / "out"
    whole = ask(Says(*texts), [task], settings(), "base", output=tmp_path / "whole")

    class Stops(Says):
        def generate(self, *given):
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().generate(*given)

    with pytest.raises(KeyboardInterrupt):
        ask(Stops(*texts), [task], settings(), "base", output=out)
    assert not (out / "humaneval.jsonl").exists()
    last = Says(texts[-1])
    again = ask(last, [task], settings(), "base", output=out)
    assert [len(prompts) for prompts, _ in last.asked] == [1]  # what was done before was not asked again
    assert again["humaneval"].metrics == whole["humaneval"].metrics
    assert [path.name for path in out.iterdir()] == ["humaneval.jsonl"]
    rows = [json.loads(line) for line in (out / "humaneval.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == [row["outcome"] for row in whole["humaneval"].rows]
    other = Says(*texts, weights="another model")
    ask(other, [task], settings(), "base", output=out)
    assert len(other.asked) == 3


def test_mistakes_show_before_anything_is_answered(tmp_path):
    answers = Says()
    with pytest.raises(UserError, match="no such file"):
        ask(answers, ["functions", "mbpp:/no/file"], settings(), "chat")
    (tmp_path / "bad.jsonl").write_text('{"task_id": 1}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl line 1"):
        ask(answers, ["functions", f"humaneval:{tmp_path / 'bad.jsonl'}"], settings(), "chat")
    assert not answers.asked


def test_prompts_that_fill_the_model(tmp_path):
    with pytest.raises(UserError, match="leave no room in the model's positions"):
        ask(Always(Completion([], stopped=False)), [problems(tmp_path, 1)], settings(), "base")


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
    base = ask(Says(body, row["buggy_solution"], body, "    pass\n"), tasks, settings(), "base")
    whole = f"```python\n{declaration}{body}```"
    chat = ask(Says(whole, body.strip(), whole, body.strip()), tasks, settings(), "chat")
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
        ask(
            SimpleNamespace(tokenizer=TOKENIZER, weights="", generate=generator(model, TOKENIZER, size)),
            ["functions"],
            wanted,
        )["functions"]
        for size in (1, None)
    )
    assert one.metrics == all.metrics and one.rows == all.rows
