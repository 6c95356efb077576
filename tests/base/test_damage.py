"""Files and disks that go wrong: one line says what, nothing is lost, and mended, the same command goes on as if
unhurt."""

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from qwen_shared.run.lock import lock_run


class SmallDisk:
    """A file system of so many MiB."""

    def __init__(self, path: Path):
        self.path, self._ballast = path, path / "ballast"

    def leave(self, free: int) -> None:
        """Fill it up to so many bytes."""
        size = shutil.disk_usage(self.path).free - free
        with self._ballast.open("wb") as file:
            file.write(bytes(max(0, size)))

    def leave_files(self, count: int) -> None:
        """Room for bytes, but for no more than so many files."""
        found = os.statvfs(self.path)
        self._remount(found.f_files - found.f_ffree + count)

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)
        self._remount(100_000)

    def _remount(self, files: int) -> None:
        subprocess.run(["mount", "-o", f"remount,nr_inodes={files}", self.path], check=True)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", path], check=True)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# ---- data


def test_damaged_token_files_are_made_again(pretrain, broken_off, assert_unhurt, environment, tmp_path):
    cache = shutil.copytree(environment["QWEN_CACHE"], tmp_path / "cache")
    for path in cache.rglob("train.bin"):
        os.truncate(path, path.stat().st_size - 100)
    for path in cache.rglob("validation.idx"):
        path.unlink()
    pretrain(broken_off(tmp_path / "run"), QWEN_CACHE=cache)
    assert_unhurt(tmp_path / "run")


@pytest.mark.parametrize("source", ["{}", "hf:{}"])
def test_a_missing_shard_is_named(source, pretrain, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number in (0, 2):
        (data / f"train-{number:05d}-of-00003.jsonl").write_text('{"text": "some text"}\n')
    said = pretrain.refuses(tmp_path / "run", f"data.sources={source.format(data)}")
    assert f"2 of 3 shards are there, not {data}/train-00001-of-00003" in said
    assert not (tmp_path / "run").exists()


def test_a_file_taken_from_a_directory_is_noticed(pretrain, corpus, tmp_path, read):
    data, run_dir = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    lines = corpus.read_text().splitlines(keepends=True)
    for number in range(2):
        (data / f"{number}.jsonl").write_text("".join(lines[number::2]))
    words = (f"data.sources={data}", "training.steps=5", "export=none")
    pretrain(run_dir, *words)
    (run_dir / "manifest.json").write_text(json.dumps(read.manifest(run_dir) | {"status": "stopped"}))
    (data / "1.jsonl").rename(tmp_path / "1.jsonl")
    assert f"{data} changed since this run began" in pretrain.refuses(run_dir, *words)
    (tmp_path / "1.jsonl").rename(data / "1.jsonl")
    assert "going on after step 5" in pretrain(run_dir, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ('{"text": " "}\n', "no text in it"),
        ('{"text": "one"}\n', "2 training tokens in 1 documents are fewer than data.seq_length + 1 = 65"),
        ('{"text": "one"}\n{"text": "tw', "line 2: not valid JSON: Unterminated string"),
    ],
)
def test_a_corpus_with_nothing_to_train_on(content, words, pretrain, tmp_path):
    (tmp_path / "text.jsonl").write_text(content)
    assert words in pretrain.refuses(tmp_path / "run", f"data.sources={tmp_path / 'text.jsonl'}")
    if content:
        # The run says so, and holds on to nothing: another recipe may begin there.
        manifest = json.loads((tmp_path / "run/manifest.json").read_text())
        assert manifest["status"] == "failed" and words in manifest["reason"]
        assert "would make" in pretrain(tmp_path / "run", "training.steps=7", "--plan")
    else:
        assert not (tmp_path / "run").exists()


# ---- checkpoints


def test_a_flipped_bit_costs_a_checkpoint_and_nothing_else(pretrain, broken_off, assert_unhurt, tmp_path):
    run_dir = broken_off(tmp_path / "run", after=20)
    flip_a_bit(run_dir / "checkpoints/step-00000020/__0_0.distcp")
    said = pretrain(run_dir)
    assert "step-00000020 is damaged (__0_0.distcp: hash mismatch): going back to step 15" in said
    assert_unhurt(run_dir)


def test_without_a_whole_checkpoint_nothing_begins_anew(pretrain, broken_off, assert_unhurt, tmp_path):
    """However often it is tried: what is left may be of use to somebody."""
    run_dir = broken_off(tmp_path / "run", after=20)
    (run_dir / "checkpoints/step-00000020/__0_0.distcp").rename(tmp_path / "shard")
    os.truncate(run_dir / "checkpoints/step-00000015/.metadata", 100)
    before = (run_dir / "metrics.jsonl").read_bytes()
    for _ in range(2):
        said = pretrain.refuses(run_dir)
        assert "every checkpoint is damaged (step 20: __0_0.distcp: file missing" in said
        assert "step 15: .metadata: hash mismatch)" in said
        assert (run_dir / "metrics.jsonl").read_bytes() == before
    (tmp_path / "shard").rename(run_dir / "checkpoints/step-00000020/__0_0.distcp")
    pretrain(run_dir)
    assert_unhurt(run_dir)


def test_a_lost_manifest_is_made_again(pretrain, broken_off, assert_unhurt, tmp_path):
    """As the message about a damaged one promises."""
    run_dir = broken_off(tmp_path / "run")
    (run_dir / "manifest.json").write_text("{")
    assert "delete it: the run continues from its checkpoints" in pretrain.refuses(run_dir)
    (run_dir / "manifest.json").unlink()
    pretrain(run_dir)
    assert_unhurt(run_dir)


# ---- full disks


def test_no_room_for_token_files(pretrain, small_disk, tmp_path):
    small_disk.leave(16_384)
    words = ("training.steps=5", "export=none")
    said = pretrain.refuses(tmp_path / "run", *words, QWEN_CACHE=small_disk.path)
    assert f"data cache {small_disk.path}/tokens: cannot be written: No space left on device" in said
    small_disk.make_room()
    pretrain(tmp_path / "run", *words, QWEN_CACHE=small_disk.path)
    assert len(list(small_disk.path.glob("tokens/*"))) == 2  # the files and a lock: what was begun first is gone


@pytest.mark.slow
def test_no_room_for_a_checkpoint(pretrain, broken_off, assert_unhurt, small_disk, steps_done):
    run_dir = broken_off(small_disk.path / "run")
    small_disk.leave(8_000_000)
    said = pretrain.refuses(run_dir)
    # Before a step is done for nothing.
    assert "step 20 cannot be saved: No space left on device: 18.1 MB are needed, 8.0 MB are free; mend that" in said
    assert steps_done(run_dir) == 15
    small_disk.make_room()
    small_disk.leave_files(4)
    said = pretrain.refuses(run_dir)
    assert (
        "step 20 cannot be saved: No space left on device; mend that, and the same command goes on after step 15"
        in said
    )
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-00000015"]
    small_disk.make_room()
    pretrain(run_dir)
    assert_unhurt(run_dir)


@pytest.mark.slow
def test_no_room_for_a_line_of_metrics(pretrain, read, finished_run, small_disk):
    run_dir = small_disk.path / "run"
    words = ("checkpoint.interval=100", "export=none")

    def fill():
        while not (run_dir / "metrics.jsonl").exists() or not (run_dir / "metrics.jsonl").stat().st_size:
            pass
        small_disk.leave(0)

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    said = pretrain.refuses(run_dir, *words)
    assert re.search(rf"{run_dir}/(metrics|tables).jsonl: No space left on device", said)
    filler.join()
    small_disk.make_room()
    pretrain(run_dir, *words)
    assert read.trajectory(run_dir) == read.trajectory(finished_run)


@pytest.mark.slow
def test_no_room_for_the_export(pretrain, broken_off, assert_unhurt, small_disk):
    run_dir = broken_off(small_disk.path / "run", after=20)
    small_disk.leave(2_500_000)
    said = pretrain.refuses(run_dir)
    assert f"{run_dir}/export: step 20 cannot be exported: No space left on device" in said
    assert not list(run_dir.glob("*export*")) and not list(run_dir.glob(".export*"))
    small_disk.make_room()
    pretrain(run_dir)
    assert_unhurt(run_dir)


def test_a_full_disk_under_the_console_does_not_end_the_run(pretrain, read, tmp_path):
    pretrain(tmp_path / "run", "training.steps=5", "export=none", stdout="/dev/full")
    assert read.manifest(tmp_path / "run")["status"] == "finished"


# ---- directories that may not be written or read


@pytest.mark.slow
@pytest.mark.usefixtures("obeying")
@pytest.mark.parametrize("part", [".", "checkpoints"])
def test_a_read_only_directory(part, pretrain, broken_off, assert_unhurt, tmp_path):
    run_dir = broken_off(tmp_path / "run")
    (run_dir / part).chmod(0o555)
    said = pretrain.refuses(run_dir)
    named = "manifest.json: cannot be written" if part == "." else "checkpoints: step 20 cannot be saved"
    assert f"{run_dir}/{named}: Permission denied" in said
    (run_dir / part).chmod(0o755)
    if part == "checkpoints":
        pretrain(run_dir)
        assert_unhurt(run_dir)


@pytest.mark.slow
def test_a_read_only_file_system(pretrain, broken_off, small_disk):
    broken_off(small_disk.path / "run")
    subprocess.run(["mount", "-o", "remount,ro", small_disk.path], check=True)
    for run_dir in (small_disk.path / "run", small_disk.path / "new"):
        assert "log.txt: cannot be written: Read-only file system" in pretrain.refuses(run_dir)


@pytest.mark.slow
@pytest.mark.usefixtures("obeying")
def test_what_may_not_be_read_is_not_damaged(pretrain, broken_off, tmp_path):
    run_dir = broken_off(tmp_path / "run")
    shard = run_dir / "checkpoints/step-00000015/__0_0.distcp"
    shard.chmod(0)
    assert f"{shard}: cannot be read: Permission denied" in pretrain.refuses(run_dir)
    assert shard.exists()


# ---- company


@pytest.mark.slow
def test_two_on_one_run(pretrain, broken_off, tmp_path):
    run_dir = broken_off(tmp_path / "run")
    before = (run_dir / "metrics.jsonl").read_bytes()
    with lock_run(run_dir):
        assert f"{run_dir}: another process (pid {os.getpid()}) is working on this run" in pretrain.refuses(run_dir)
    assert (run_dir / "metrics.jsonl").read_bytes() == before
