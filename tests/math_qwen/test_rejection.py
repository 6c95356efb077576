"""Rejection sampling."""

import json
import random
from argparse import Namespace
from types import SimpleNamespace

import pytest

from math_qwen import rejection
from math_qwen.recipe import MathEvaluation
from math_qwen.rejection import edit_distance, select
from qwen_shared.errors import UserError
from qwen_shared.generation import decode
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer


def test_one_answer_for_each_list_of_equations():
    answers = [
        "a <<2+3=5>>5\n#### 5",
        "b <<2 + 3 = 5>>5\n#### 5",  # the same equations
        "c <<3+2=5>>5\n#### 5",  # others
        "d <<2+3=6>>6 <<6-1=5>>5\n#### 5",  # right answer, false equation
        "e <<2+2=4>>4\n#### 4",  # wrong
        "f without any\n#### 5",
    ]
    drawn = select(answers, [True, True, True, True, False, True])
    assert (drawn.sampled, drawn.verified, drawn.sound) == (6, 5, 4)
    assert drawn.kept == [answers[0], answers[2], answers[5]]


def test_of_the_same_equations_the_farthest_is_kept():
    near, far, other = "ab <<1+1=2>>", "xyz, so far off <<1+1=2>>", "ab <<2+0=2>>"
    assert select([other, near, far], [True] * 3).kept == [other, far]
    assert select([other, far, near], [True] * 3).kept == [other, far]
    assert select([near, far], [True] * 2).kept == [near]  # no other answer


def test_nothing_right_keeps_nothing():
    assert select(["a", "b"], [False, False]).kept == []
    assert select([], []).kept == []


def test_edit_distance_is_the_definition():
    def table(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, start=1):
            new = [i]
            for j, y in enumerate(b, start=1):
                new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
            row = new
        return row[-1]

    draw = random.Random(0)
    for _ in range(500):
        a, b = ("".join(draw.choices("abc", k=draw.randint(0, 80))) for _ in range(2))
        assert edit_distance(a, b) == table(a, b)


TOKENIZER = load_tokenizer("default")


@pytest.fixture
def sampling(tmp_path, monkeypatch):
    """`sample` on twelve problems; the fake model draws an equation, right in two of three cases."""
    path = tmp_path / "problems.jsonl"
    rows = [{"question": f"What is {i} and 1?", "answer": f"#### {i + 1}"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = []

    def load(directory, tokenizer, batch_size):
        def generate(prompts, settings, progress):
            asked.append(len(prompts))
            draw = random.Random(settings.seed)
            texts = []
            for prompt in prompts:
                n = int(TOKENIZER.decode(prompt).split("What is ")[1].split()[0])
                texts.append(draw.choice([f"<<{n}+1={n + 1}>>", f"<<1+{n}={n + 1}>>", ""]) + f"\n#### {n + 1}")
            texts = [text if text[0] == "<" else "#### 0" for text in texts]
            progress(len(prompts), len(prompts))
            return [Completion(TOKENIZER.encode(text), stopped=True) for text in texts]

        return generate

    monkeypatch.setattr(rejection, "_AT_ONCE", 5)
    monkeypatch.setattr(rejection, "hf_directory", lambda invocation: "default")
    monkeypatch.setattr(rejection, "style_of", lambda prompt, directory, run_dir: "chat")
    monkeypatch.setattr("qwen_shared.convert.hf_files.weights_hash", lambda directory: "hash")
    monkeypatch.setattr(decode, "load_generator", load)
    recipe = SimpleNamespace(evaluation=MathEvaluation(interval=1), data=SimpleNamespace(system=None))
    options = Namespace(problems=str(path), count=None, k=6, to=tmp_path / "kept.jsonl")
    return SimpleNamespace(recipe=recipe, options=options, asked=asked, from_model=None, run_dir=tmp_path)


def test_kept_answers_are_conversations_to_train_on(sampling, capsys):
    rejection.main(sampling)
    rows = [json.loads(line) for line in sampling.options.to.read_text().splitlines()]
    assert 12 <= len(rows) <= 24 and sampling.asked == [30, 30, 12]
    user, assistant = rows[0]["messages"]
    assert user == {"role": "user", "content": "What is 0 and 1?"} and assistant["content"].endswith("#### 1")
    assert len({row["id"] for row in rows}) == len(rows) and all(row["equations"] == 1 for row in rows)
    assert "72 answers drawn" in capsys.readouterr().out
    assert [path.name for path in sampling.options.to.parent.glob(".*")] == []


def test_a_stopped_command_goes_on(sampling, monkeypatch):
    rejection.main(sampling)
    whole = sampling.options.to.read_bytes()
    sampling.options.to.unlink()
    graded = rejection._graded

    def stops(golds, answers, k):
        if len(sampling.asked) == 5:  # second run, second part
            raise KeyboardInterrupt
        return graded(golds, answers, k)

    monkeypatch.setattr(rejection, "_graded", stops)
    with pytest.raises(KeyboardInterrupt):
        rejection.main(sampling)
    assert not sampling.options.to.exists()
    partial = sampling.options.to.with_name(".kept.jsonl.partial")
    partial.write_bytes(partial.read_bytes() + b'[{"sampled": 6, "ver')  # killed while writing
    monkeypatch.setattr(rejection, "_graded", graded)
    rejection.main(sampling)
    assert sampling.asked[5:] == [30, 12]  # the first part is not drawn again
    assert sampling.options.to.read_bytes() == whole


def test_other_settings_begin_anew(sampling):
    partial = sampling.options.to.with_name(".kept.jsonl.partial")
    partial.write_text("another's\n[]\n")
    rejection.main(sampling)
    assert sampling.asked == [30, 30, 12]


def test_embedded_problems(sampling):
    from math_qwen.recipe import Problems

    sampling.options.problems, sampling.options.count = None, 3
    sampling.recipe.problems, sampling.recipe.seed = Problems(), 1234
    found = list(rejection._problems(sampling))
    assert len(found) == 3 and found[0][0] == [{"role": "user", "content": found[0][1].question}]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"count": 0}, {"to": "kept.txt"}, {"to": "no/such/place.jsonl"}])
def test_mistakes(sampling, wrong, tmp_path):
    for key, value in wrong.items():
        setattr(sampling.options, key, tmp_path / value if key == "to" else value)
    with pytest.raises(UserError):
        rejection.main(sampling)


def test_what_is_read_is_not_written_over(sampling, tmp_path):
    sampling.options.to = tmp_path / "problems.jsonl"
    before = sampling.options.to.read_text()
    with pytest.raises(UserError, match="overwrite"):
        rejection.main(sampling)
    assert sampling.options.to.read_text() == before and sampling.asked == []


def test_answers_that_would_all_be_the_same_are_not_drawn(sampling):
    sampling.recipe.evaluation = MathEvaluation(interval=1, temperature=0.0)
    with pytest.raises(UserError, match="one answer"):
        rejection.main(sampling)


def test_a_file_without_problems(sampling, tmp_path):
    (tmp_path / "problems.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no problem"):
        rejection.main(sampling)
