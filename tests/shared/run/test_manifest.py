"""A run directory is new, this recipe's, or an error that says why."""

import json
import os

import pytest

from qwen_shared.errors import UserError
from qwen_shared.run import Manifest, Parent, inspect_run, open_run


def open_(run_dir, recipe):
    return open_run(run_dir, recipe, "qwen-base pretrain", "base-pretrain")


def test_new_then_resumed_then_finished(tmp_path, recipe):
    run = tmp_path / "a" / "run"
    assert inspect_run(run, recipe) == "new"
    assert not run.exists()
    state, manifest = open_(run, recipe)
    assert (state, manifest.status, manifest.name, manifest.kind) == ("new", "running", "small", "base-pretrain")
    assert manifest.versions["python"].startswith("3.")
    assert "torch" in manifest.versions

    manifest.status, manifest.wandb_run_id = "stopped", "abc"
    manifest.parent = Parent(run="other", step=3, hash="ff")
    manifest.results = {"val/loss": 1.25}
    manifest.write(run)
    state, again = open_(run, recipe)
    assert (state, again.status, again.wandb_run_id, again.created) == ("resume", "running", "abc", manifest.created)
    assert (again.parent.step, again.results) == (3, {"val/loss": 1.25})

    again.status = "finished"
    again.write(run)
    before = (run / "manifest.json").read_bytes()
    assert open_(run, recipe)[0] == "finished"
    assert (run / "manifest.json").read_bytes() == before
    assert {path.name for path in run.iterdir()} == {"recipe.yaml", "manifest.json"}


def test_a_run_with_old_names_of_keys_resumes(tmp_path, recipe):
    open_(tmp_path, recipe)
    stored = tmp_path / "recipe.yaml"
    text = stored.read_text()
    old = text.replace("padded_vocab_size:", "vocab_rows:").replace("validation_fraction:", "validation_share:")
    stored.write_text(old)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    assert old != text and open_(tmp_path, recipe)[0] == "resume"
    assert stored.read_text() == text


def test_another_recipe_is_refused_with_its_keys(tmp_path, recipe, changed):
    run = tmp_path / "run"
    open_(run, recipe)
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "run-2").mkdir()
    before = {path: path.read_bytes() for path in run.iterdir()}
    other = changed(optimizer={"lr": 0.5}, data={"sources": ["stdlib", "b.txt"]}, seed=7)
    with pytest.raises(UserError) as raised:
        open_(run, other)
    message = str(raised.value)
    for words in ("optimizer.lr: 0.001 → 0.5", "seed: 1234 → 7", "data.sources.1.path: nothing → b.txt"):
        assert words in message
    assert message.endswith(f"--run-dir {tmp_path / 'run-3'}")
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_never_made_a_step_gives_way(tmp_path, recipe, changed):
    """What failed before its first step has nothing to lose, and its name can be used with a mended recipe."""
    run = tmp_path / "run"
    _, first = open_(run, recipe)
    first.results = {"stale": 1.0}
    first.status = "failed"
    first.write(run)
    state, manifest = open_(run, changed(seed=7))
    assert state == "new" and manifest.results == {}
    assert "seed: 7" in (run / "recipe.yaml").read_text()


def test_how_it_is_carried_out_may_change(tmp_path, recipe, changed):
    run = tmp_path / "run"
    open_(run, recipe)
    other = changed(
        parallel={"tensor_parallel": 2, "recompute": "full"},
        training={"micro_batch_size": 2},
        tracking={"wandb": "disabled"},
        checkpoint={"interval": 1, "keep_last": 9},
    )
    assert open_(run, other)[0] == "resume"
    assert "tensor_parallel: 2" in (run / "recipe.yaml").read_text()
    assert open_(run, recipe)[0] == "resume"


def test_a_kill_between_recipe_and_manifest(tmp_path, recipe):
    run = tmp_path / "run"
    open_(run, recipe)
    (run / "manifest.json").unlink()
    (run / ".manifest.json.xyz.tmp").write_text("{")
    assert open_(run, recipe)[0] == "resume"


def test_why_it_ended_is_kept_until_it_goes_on(tmp_path, recipe):
    manifest = open_(tmp_path, recipe)[1]
    manifest.break_off(RuntimeError("lost\nand more"))
    manifest.break_off(KeyboardInterrupt())  # what comes of it
    manifest.write(tmp_path)
    assert (Manifest.read(tmp_path).status, Manifest.read(tmp_path).reason) == ("failed", "lost")
    manifest = open_(tmp_path, recipe)[1]
    assert (manifest.status, manifest.reason) == ("running", None)
    manifest.break_off(KeyboardInterrupt())
    assert (manifest.status, manifest.reason) == ("stopped", "KeyboardInterrupt")


def test_the_loss_of_another_rank_is_not_why(tmp_path, recipe):
    manifest = open_(tmp_path, recipe)[1]
    manifest.break_off(RuntimeError("[/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer"))
    assert (manifest.status, manifest.reason) == ("failed", "another rank was lost: see the console and logs/")


def test_logs_alone_are_no_run(tmp_path, recipe):
    (tmp_path / "logs").mkdir()
    (tmp_path / "log.txt").touch()
    assert open_(tmp_path, recipe)[0] == "new"


def test_what_is_no_run(tmp_path, recipe):
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(UserError, match=r"thesis\.doc.*--run-dir"):
        open_(tmp_path, recipe)
    with pytest.raises(UserError, match="a file, not a run"):
        open_(tmp_path / "thesis.doc", recipe)
    with pytest.raises(UserError, match="no manifest"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "damaged"),
        ('{"name": "x"', "damaged"),
        ("[]", "damaged"),
        ('{"name": "x"}', "command"),
        ("\udcff", "damaged"),
    ],
)
def test_a_damaged_manifest_is_one_line(text, words, tmp_path, recipe):
    open_(tmp_path, recipe)
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=words) as raised:
        open_(tmp_path, recipe)
    assert "manifest.json" in str(raised.value)


def test_a_damaged_recipe_is_one_line(tmp_path, recipe):
    open_(tmp_path, recipe)
    (tmp_path / "recipe.yaml").write_text("name: [")
    with pytest.raises(UserError, match=r"recipe\.yaml.*not valid YAML"):
        open_(tmp_path, recipe)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_directory(tmp_path, recipe):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        open_(tmp_path / "run", recipe)


def test_what_cannot_be_made(tmp_path, recipe):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        open_(tmp_path / "file" / "run", recipe)


def test_a_failed_write_leaves_the_old_one(tmp_path, recipe, monkeypatch):
    _, manifest = open_(tmp_path, recipe)
    before = (tmp_path / "manifest.json").read_bytes()

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        manifest.write(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
    json.loads(before)
