"""Each step stands once, whenever the process was killed."""

import json
import os
import random

import pytest

from qwen_shared.run.metrics_file import MetricsFile, read_metrics


def write(path, steps, resume_step=None):
    file = MetricsFile(path, resume_step)
    for step in steps:
        file.add({"step": step, "train/loss": step / 3})
    file.close()


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_resume_drops_what_is_done_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 8))
    write(path, range(6, 11), resume_step=5)
    assert steps(path) == list(range(1, 11))
    write(path, range(1, 3))  # a new run in the same place
    assert steps(path) == [1, 2]


def test_every_bit_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    values = [random.Random(0).uniform(-1, 1) * 10.0**e for e in range(-20, 20)]
    file = MetricsFile(path, None)
    for step, value in enumerate(values):
        file.add({"step": step, "x": value})
    assert [record["x"] for record in read_metrics(path)] == values


def test_killed_at_every_byte_then_resumed(tmp_path):
    """Cut anywhere, then resumed from step 2, the file is the one of a run never cut."""
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 6))
    whole = path.read_bytes()
    after_two = len(b"".join(whole.splitlines(keepends=True)[:2]))
    for cut in range(after_two, len(whole)):
        path.write_bytes(whole[:cut])
        write(path, range(3, 6), resume_step=2)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "tail", [b"\x00" * 50, b'{"step": 3', b'{"step": 3}\n\x00\x00', b"null\n", b'{"loss": 1}\n', b"\n"]
)
def test_a_damaged_tail_is_cut(tail, tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [1, 2])
    path.write_bytes(path.read_bytes() + tail)
    write(path, [3, 4], resume_step=3)
    assert steps(path) == [1, 2, 3, 4]


def test_one_step_in_several_calls_is_one_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, None)
    file.add({"step": 1, "train/loss": 2.0})
    file.add({"step": 2, "train/loss": 1.5})
    file.add({"step": 2, "val/loss": 1.75})
    file.add({"step": 3, "train/loss": 1.0})
    assert read_metrics(path)[1] == {"step": 2, "train/loss": 1.5, "val/loss": 1.75}
    # also over a restart, where the checkpoint's step is validated again
    file = MetricsFile(path, 2)
    file.add({"step": 2, "val/loss": 1.75})
    assert steps(path) == [1, 2]
    with pytest.raises(ValueError, match="step 1 after step 2"):
        file.add({"step": 1})


def test_valid_json_even_where_the_loss_is_not_a_number(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, None)
    file.add({"step": 1, "train/loss": float("nan"), "grad_norm": float("inf")})
    assert json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))["train/loss"] is None


def test_a_reader_always_sees_whole_lines(tmp_path):
    """There is no buffer that a kill -9 would lose."""
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, None)
    for step in range(3):
        file.add({"step": step})
        assert steps(path)[-1] == step
    if hasattr(os, "fork"):
        pid = os.fork()
        if pid == 0:
            file.add({"step": 3})
            os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)
        assert steps(path) == [0, 1, 2, 3]
