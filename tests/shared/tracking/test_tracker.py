"""One call reaches the file, W&B and the console, and none of them can end a run."""

import contextlib
import io
import sys
import time

import psutil
import pytest

from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest, read_metrics
from qwen_shared.tracking import NoTracker, Tracker, wandb_run


def track(run_dir, recipe, resume_step=0, wandb_id=None, total_steps=10):
    manifest = Manifest.create("qwen-base pretrain", "base-pretrain", recipe.name)
    manifest.wandb_run_id = wandb_id
    return Tracker(
        run_dir,
        recipe.model_dump(),
        recipe.tracking,
        manifest,
        total_steps=total_steps,
        tokens_per_step=64,
        samples_per_step=4,
        resume_step=resume_step,
    )


def run_id(run_dir):
    return Manifest.read(run_dir).wandb_run_id


def test_records(tmp_path, recipe):
    tracker = track(tmp_path, recipe)
    for step in (1, 2, 3):
        tracker.log(step, {"train/loss": 3.0 - step})
    tracker.finish("stopped")
    first = tracker.seconds
    tracker = track(tmp_path, recipe, resume_step=2)
    tracker.log(3, {"train/loss": 0.0})
    tracker.finish("finished")
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in records] == [1, 2, 3]
    assert [(r["tokens"], r["samples"]) for r in records] == [(64, 4), (128, 8), (192, 12)]
    assert sorted(r["time"] for r in records) == [r["time"] for r in records]
    assert run_id(tmp_path) is None
    assert first > 0


def test_the_other_ranks_have_the_same_calls():
    calls = [name for name in vars(Tracker) if not name.startswith("_")]
    assert set(calls) <= set(vars(NoTracker)) | set(NoTracker.__annotations__)
    tracker = NoTracker()
    tracker.log(1, {})
    tracker.sample_table(1, [])
    tracker.finish("failed")


def test_plain_lines_without_a_terminal(tmp_path, recipe, capsys):
    tracker = track(tmp_path, recipe)
    for step in range(1, 11):
        metrics = {"train/loss": 2.5, "train/lr": 1e-3, "train/tokens_per_second": 5030.4, "train/mfu": 0.415}
        tracker.log(step, metrics | ({"val/bits_per_byte": 2.25} if step == 6 else {}))
    tracker.sample_table(10, [{"prompt": "The", "text": " [bold]end[/bold]"}])
    tracker.finish("finished")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/10", "6/10", "6:", "10/10", "10:"]
    assert "loss 2.5000  lr 1.00e-03  5,030 tokens/s  MFU 41.5%" in lines[1]
    assert "ETA 0:00:0" in lines[1]
    assert "bits_per_byte 2.2500" in lines[2]
    assert lines[-1].endswith("[bold]end[/bold]")


def test_a_bar_on_a_terminal(tmp_path, recipe, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    tracker = track(tmp_path, recipe, resume_step=3)
    tracker.log(4, {"train/loss": 2.5})
    tracker.sample_table(4, [{"prompt": "The", "text": " [bold]end[/bold]"}])
    tracker.finish("finished")
    assert "4/10" in terminal.getvalue()
    assert "loss 2.5000" in terminal.getvalue()
    assert "[bold]end[/bold]" in terminal.getvalue()


def test_wandb_offline_without_a_key(tmp_path, recipe, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    tracker = track(tmp_path, recipe)
    assert tracker._wandb.mode == "offline"
    tracker.log(1, {"train/loss": 2.0})
    tracker.sample_table(1, [{"prompt": "a", "text": "b"}])
    tracker.finish("stopped")
    first = run_id(tmp_path)
    again = track(tmp_path, recipe, resume_step=1, wandb_id=first)
    assert run_id(tmp_path) == first
    again.finish("finished")
    runs = list((tmp_path / "wandb").glob(f"offline-run-*-{first}"))
    assert runs
    assert any(path.suffix == ".wandb" for run in runs for path in run.iterdir())


@pytest.mark.parametrize("key", ["a" * 40, "too short"])
def test_wandb_without_network(key, tmp_path, recipe, monkeypatch, capfd):
    """A key, but nobody answers: offline after a moment, and nothing on the console."""
    monkeypatch.setattr(wandb_run, "INIT_TIMEOUT_S", 1)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    begin = time.monotonic()
    with wandb_log(tmp_path):
        tracker = track(tmp_path, recipe)
        tracker.log(1, {"train/loss": 2.0})
        tracker.finish("finished")
    assert time.monotonic() - begin < 30
    assert tracker._wandb.mode == "offline"
    assert "wandb" not in capfd.readouterr().err
    assert "W&B" in (tmp_path / "log.txt").read_text()


def test_going_back_does_steps_again(tmp_path, recipe):
    tracker = track(tmp_path, recipe)
    for step in (1, 2, 3, 4):
        tracker.log(step, {"train/loss": float(step)})
    tracker.rewind(2)
    tracker.log(3, {"train/loss": 0.0})
    tracker.finish("finished")
    assert [(r["step"], r["train/loss"]) for r in read_metrics(tmp_path / "metrics.jsonl")] == [(1, 1), (2, 2), (3, 0)]


def wandb_log(run_dir):
    import wandb

    from qwen_shared.log import log_file

    wandb.teardown()  # forgets the settings of an earlier test
    return log_file(run_dir)


def test_wandb_that_breaks_is_left_behind(tmp_path, recipe, monkeypatch):
    import wandb

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("broken")

    monkeypatch.setattr(wandb, "init", lambda **_: Broken())
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = track(tmp_path, recipe)
    tracker.log(1, {"train/loss": 2.0})
    tracker.sample_table(1, [{"prompt": "a", "text": "b"}])
    tracker.finish("finished")
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_wandb_whose_service_hangs_is_not_waited_for(tmp_path, recipe, monkeypatch):
    """Its process stands still: neither a step nor the end of the run does."""
    monkeypatch.setattr(wandb_run, "FINISH_TIMEOUT_S", 0.2)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb_log(tmp_path):
        tracker = track(tmp_path, recipe)
        services = [child for child in psutil.Process().children(recursive=True) if "wandb" in child.name()]
        assert services
        for service in services:
            service.suspend()
        try:
            begin = time.monotonic()
            for step in range(1, 2001):
                tracker.log(step, {f"train/figure {i}": 1.0 for i in range(20)})
            logged = time.monotonic()
            tracker.finish("finished")
            assert logged - begin < 10 and time.monotonic() - logged < 10
        finally:
            for service in services:
                with contextlib.suppress(psutil.NoSuchProcess):
                    service.kill()
    assert "W&B does not answer" in (tmp_path / "log.txt").read_text()
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2000


@pytest.mark.parametrize(
    ("setting", "environment", "mode"),
    [
        ("auto", None, "online"),
        ("auto", "offline", "offline"),
        ("auto", "disabled", "disabled"),
        ("offline", "disabled", "offline"),
        ("disabled", "online", "disabled"),
    ],
)
def test_wandb_mode(setting, environment, mode, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    assert wandb_run._mode(Tracking(wandb=setting)) == mode


def test_what_models_say_cannot_steer_the_terminal(tmp_path, recipe, capsys):
    tracker = track(tmp_path, recipe)
    tracker.sample_table(1, [{"prompt": "a\x1b[31m", "text": "b\x1b]0;title\x07\x9b\r\u202e\nc"}])
    tracker.finish("stopped")
    said = capsys.readouterr().out
    assert "a␛[31m" in said and "⏎c" in said
    assert not any(ord(c) < 32 and c != "\n" for c in said) and "\x9b" not in said and "\u202e" not in said
