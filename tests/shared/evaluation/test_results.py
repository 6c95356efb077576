"""Where results go: tables, `evaluation.json`, the manifest and W&B."""

import io
import json
from unittest.mock import MagicMock

import pytest
from rich.console import Console

from qwen_shared.evaluation.results import cells_table, flat, read_results, tell_run
from qwen_shared.run import Manifest
from qwen_shared.tracking import wandb_run


def test_a_title_is_shown_as_it_is():
    """A path may hold what looks like markup."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(cells_table({"a[b]": {"count": "1"}, "c": {"more": "2"}}, "m[/b][red]x"))
    assert "m[/b][red]x" in (text := console.export_text()) and "a[b]" in text and "more" in text


def test_rows_are_flat_in_a_table():
    row = {"task_id": "1", "messages": [{}], "score": 1.0, "groups": {"family": "a", "score": "x"}}
    assert flat(row) == {"task_id": "1", "score": 1.0, "family": "a"}


@pytest.mark.parametrize(
    "report",
    [
        {"tasks": {"a": {"metrics": {"accuracy": 0.5}, "by": {}}}, "results": {"eval/a/accuracy": 0.5}},
        {"model": "m", "tasks": {"a": {"accuracy": 0.5, "by": {"family": {}}}}},  # up to version 0.1
        {"eval/a/accuracy": 0.5},  # before training, up to version 0.1
    ],
)
def test_reports_are_read(tmp_path, report):
    assert read_results(tmp_path) == {}
    (tmp_path / "evaluation.json").write_text(json.dumps(report))
    assert read_results(tmp_path) == {"eval/a/accuracy": 0.5}


@pytest.mark.parametrize("kind", ["toy", "base-pretrain"])
def test_wandb_keeps_the_run_s_own_recipe(tmp_path, monkeypatch, kind):
    """Not the one that the model was asked with, which may be of another kind."""
    seen = []
    monkeypatch.setattr(wandb_run, "WandbRun", lambda *given: seen.append(given) or MagicMock(id="abc", url=None))
    Manifest.create("toy train", kind, "small").write(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: small\ntokenizer: ./tokenizer\ntasks: [a]\n")
    tell_run(tmp_path, "its tracking", {"eval/b/accuracy": 0.5}, {})
    own = {"name": "small", "tokenizer": str(tmp_path / "tokenizer"), "tasks": ["a"]}
    (given,) = seen
    assert given[:3] == (tmp_path, own, "its tracking")
    assert (given[3].kind, given[3].name, given[3].wandb_run_id) == (kind, "small", None)
    assert Manifest.read(tmp_path).results == {"eval/b/accuracy": 0.5}
    assert Manifest.read(tmp_path).wandb_run_id == "abc"
