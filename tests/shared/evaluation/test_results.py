"""Where figures go, and which prompts go to which model."""

import io
import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from rich.console import Console

from qwen_shared.errors import UserError
from qwen_shared.evaluation.results import as_the_run_says, figures_table, output_directory, style_of, tell_run
from qwen_shared.run import Manifest
from qwen_shared.tracking import wandb_run


def test_prompts_by_the_kind_of_model(tmp_path):
    run, foreign = tmp_path / "run", tmp_path / "foreign"
    run.mkdir()
    foreign.mkdir()
    assert style_of("base", foreign, run) == "base" and style_of("chat", foreign, None) == "chat"
    Manifest.create("code-qwen pretrain", "code-pretrain", "tiny").write(run)
    assert style_of("auto", foreign, run) == "base"
    Manifest.create("code-qwen sft", "code-sft", "tiny").write(run)
    assert style_of("auto", foreign, run) == "chat"
    assert style_of("auto", foreign, None) == "base"
    (foreign / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert style_of("auto", foreign, None) == "chat"


def test_where_answers_are_written(tmp_path):
    run = tmp_path / "run"
    assert output_directory(None, run, None, ["tasks=a"]) == run / "evaluation"
    assert output_directory(None, run, 7, []) == run / "evaluation-00000007"
    assert output_directory(None, run, 7, ["evaluation.samples=3"]) == run / "evaluation-trial"
    assert output_directory(None, None, None, []) is None
    assert output_directory(tmp_path / "a" / "b", run, None, []) == tmp_path / "a" / "b"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no directory"):
        output_directory(tmp_path / "file" / "b", run, None, [])


def test_a_title_is_shown_as_it_is():
    """A path may hold what looks like markup."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(figures_table({"a": 1}, {"count": str}, "m[/b][red]x"))
    assert "m[/b][red]x" in console.export_text()


def test_as_the_run_says():
    assert as_the_run_says(["tasks=a,b", "evaluation.batch_size=3", "evaluation.workers=2"])
    for word in ("evaluation.temperature=1", "evaluation={limit: 2}", "data.system=x", "problems.languages=[en]"):
        assert not as_the_run_says([word])


@pytest.mark.parametrize("kind", ["toy", "base-pretrain"])
def test_wandb_keeps_the_run_s_own_recipe(tmp_path, monkeypatch, kind):
    """Not the one that the model was asked with, which may be of another kind."""
    seen = []
    monkeypatch.setattr(wandb_run, "WandbRun", lambda *given: seen.append(given) or MagicMock(id="abc", url=None))
    Manifest.create("toy train", kind, "small").write(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: small\ntokenizer: ./tokenizer\ntasks: [a]\n")
    asked = SimpleNamespace(tracking="its tracking", tasks=["b"])
    tell_run(tmp_path, asked, {"eval/b/accuracy": 0.5}, {})
    own = {"name": "small", "tokenizer": str(tmp_path / "tokenizer"), "tasks": ["a"]}
    (given,) = seen
    assert given[:3] == (tmp_path, own, "its tracking")
    assert (given[3].kind, given[3].name, given[3].wandb_run_id) == (kind, "small", None)
    assert Manifest.read(tmp_path).results == {"eval/b/accuracy": 0.5}
    assert Manifest.read(tmp_path).wandb_run_id == "abc"
