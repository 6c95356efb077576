"""The verb: which prompts for which model, and where figures and answers end up."""

import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen_chat import dialogues
from qwen_chat.evaluation import command, rewards
from qwen_chat.evaluation.model import AskedChat
from qwen_shared.errors import UserError
from qwen_shared.evaluation import model
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.generation.sampling import Completion
from qwen_shared.run import Manifest
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


def make_run(directory, kind):
    directory.mkdir()
    (directory / "recipe.yaml").write_text(
        "name: tiny\ntokenizer: default\ndata: {system: ''}\ntracking: {wandb: disabled}\n"
    )
    Manifest.create(f"qwen-chat {kind}", kind, "tiny").write(directory)
    return directory


@pytest.fixture
def invocation(tmp_path, monkeypatch):
    """A finished SFT run whose model gives the reference answers, asked 20 dialogues; every other model is silent."""
    run = make_run(tmp_path / "run", "chat-sft")
    recipe = SimpleNamespace(
        tasks=["dialogues"], evaluation=EvaluationSettings(interval=1, limit=20), data=SimpleNamespace(system="")
    )
    asked = []

    def load(directory, tokenizer, batch_size):
        def generate(prompts, sampling, progress):
            asked.append((directory.name, prompts))
            known = dialogues.held_out("dialogues") if directory.name == "run" else []
            texts = [d.answer for d in known[: len(prompts)]] or [""] * len(prompts)
            return [Completion(TOKENIZER.encode(text), stopped=True) for text in texts]

        return generate

    monkeypatch.setattr(AskedChat, "directory", lambda self: Path(self.name.partition("@")[0]))
    monkeypatch.setattr(model.decode, "load_generator", load)
    monkeypatch.setattr(model, "weights_hash", str)
    monkeypatch.setattr("qwen_shared.tokenizer.load_tokenizer", lambda source: TOKENIZER)
    monkeypatch.setattr(rewards, "reward_directory", lambda place: Path(place))
    monkeypatch.setattr(
        rewards, "load_scorer", lambda place: lambda turns: [float(len(t[-1]["content"])) for t in turns]
    )
    return SimpleNamespace(
        recipe=recipe,
        overrides=[],
        run_dir=run,
        from_model=None,
        options=Namespace(to=None, against=None, reward=None),
        command="qwen-chat evaluate",
        asked=asked,
    )


def test_a_run_keeps_its_results_and_answers(invocation, capsys):
    command.main(invocation)
    run = invocation.run_dir
    assert len((run / "evaluation" / "dialogues.jsonl").read_text().splitlines()) == 20
    report = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert report["tasks"]["dialogues"]["metrics"]["accuracy"] == 1 and report["system"] == ""
    assert report["settings"]["limit"] == 20 and report["reward_model"] is None and "against" not in report
    assert Manifest.read(run).results["eval/dialogues/accuracy"] == 1
    assert "distinct-2" in capsys.readouterr().out


def test_against_another_and_scored(invocation, capsys, tmp_path):
    other = make_run(tmp_path / "other", "chat-ppo")
    invocation.options.against, invocation.options.reward = str(other), str(tmp_path / "judge")
    command.main(invocation)
    assert [name for name, _ in invocation.asked] == ["run", "other"]
    assert invocation.asked[0][1] == invocation.asked[1][1]  # the same prompts
    folder = invocation.run_dir / "evaluation"
    rows = [json.loads(line) for line in (folder / "dialogues.jsonl").read_text().splitlines()]
    assert rows[0]["reward"] == len(rows[0]["completion"])
    pairs = [json.loads(line) for line in (folder / "dialogues-against-chat-ppo-other.jsonl").read_text().splitlines()]
    assert len(pairs) == 20 and pairs[0]["theirs"]["completion"] == "" and pairs[0]["ours"]["score"] == 1
    report = json.loads((folder / "evaluation.json").read_text())
    compared = report["against"]["tasks"]["dialogues"]["compared"]
    assert {m: compared[m]["wins"] for m in compared} == {"reward": 20, "preference": 20, "right": 20}
    results = Manifest.read(invocation.run_dir).results
    assert results["eval/dialogues/against/chat-ppo-other/reward/win_rate"] == 1
    assert results["eval/dialogues/reward"] > 0
    assert Manifest.read(other).results == {}
    out = capsys.readouterr().out
    assert "win rate" in out and "right" in out and str(other) in out


def test_an_earlier_step_is_kept_apart(invocation):
    invocation.from_model = f"{invocation.run_dir}@7"
    command.main(invocation)
    assert (invocation.run_dir / "evaluation-00000007" / "dialogues.jsonl").is_file()
    assert Manifest.read(invocation.run_dir).results == {}


def test_asked_otherwise_its_results_stay(invocation, capsys):
    invocation.overrides = ["evaluation.limit=20"]
    command.main(invocation)
    assert (invocation.run_dir / "evaluation-trial" / "dialogues.jsonl").is_file()
    assert Manifest.read(invocation.run_dir).results == {} and "asked otherwise" in capsys.readouterr().out


def test_a_model_from_elsewhere_writes_where_it_is_told(invocation, tmp_path, capsys):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    invocation.from_model = str(foreign)
    invocation.overrides = ["evaluation.limit=20"]
    command.main(invocation)
    assert "--to DIR writes every answer" in capsys.readouterr().out
    invocation.options.to = tmp_path / "out"
    command.main(invocation)
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert report["model"] == str(foreign) and report["settings"]["max_new_tokens"] == 512
    assert Manifest.read(invocation.run_dir).results == {}


def test_a_run_of_another_job_is_left_alone(invocation, tmp_path):
    base = make_run(tmp_path / "base", "base-pretrain")
    invocation.from_model, invocation.run_dir = str(base), base
    command.main(invocation)
    assert sorted(path.name for path in base.iterdir()) == ["manifest.json", "recipe.yaml"]
    assert Manifest.read(base).results == {}


def test_mistakes_show_before_anything_is_loaded(invocation, tmp_path, monkeypatch):
    monkeypatch.setattr(AskedChat, "directory", lambda self: pytest.fail("the model is looked for"))
    (tmp_path / "file").write_text("")
    invocation.options.to = tmp_path / "file"
    with pytest.raises(UserError, match="no directory"):
        command.main(invocation)
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text('{"prompt": "x"}\n')
    invocation.options.to, invocation.recipe.tasks = tmp_path, [f"prompts:{prompts}"]
    with pytest.raises(UserError, match="take the place of the problems"):
        command.main(invocation)
    judge = make_run(tmp_path / "judge", "chat-reward")
    invocation.options.to, invocation.options.against = None, str(judge)
    with pytest.raises(UserError, match="--reward lets it score"):
        command.main(invocation)


def test_plan(invocation, tmp_path):
    invocation.options.against = str(make_run(tmp_path / "other", "chat-ppo"))
    text = command.plan(invocation)
    asked = "chat prompts, greedy, up to 512 tokens, first 20 of each; system turn ''"
    assert f"the problems of dialogues (made here): {asked}" in text
    assert f"and {tmp_path / 'other'} the same" in text
    invocation.recipe.tasks = ["dialog"]
    with pytest.raises(UserError, match="nearest: dialogues"):
        command.plan(invocation)


def test_a_reward_run_is_asked_its_held_out_pairs(invocation, tmp_path):
    judge = make_run(tmp_path / "judge", "chat-reward")
    invocation.from_model, invocation.run_dir = str(judge), judge
    assert "held-out pairs" in command.plan(invocation)
    invocation.options.against = "x"
    with pytest.raises(UserError, match="it answers nothing"):
        command.main(invocation)
