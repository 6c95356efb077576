"""What goes wrong outside: one line says what, nothing is lost, and mended, the same command goes on as if unhurt."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qwen_shared.tracking.lock import lock_run

# Without these rights a read-only file is read-only to root as well.
OBEY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
if os.geteuid() or not shutil.which("setpriv") or subprocess.run([*OBEY, "true"], capture_output=True).returncode:
    OBEY = []
obeying = pytest.mark.skipif(os.geteuid() == 0 and not OBEY, reason="nothing is read-only to root here")

# Importing Megatron takes longer than all that is tried here: it is done once, and every command gets a fork of that.
SERVER = """
import json, os, sys
from qwen_base.cli import main
from qwen_shared.backend.quick_import import quick_import
with quick_import():
    from qwen_shared.training import pretrain
for line in sys.stdin:
    words, environment, *outputs = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.update(environment)
        for descriptor, path in enumerate(outputs, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        code = main(words)
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Command:
    """`qwen-base pretrain --config micro --run-dir RUN …`: what it printed, and that it ended as expected."""

    def __init__(self, server, micro, outputs):
        self._server, self._micro, self._outputs = server, str(micro), [str(outputs / "out"), str(outputs / "err")]

    def __call__(self, run_dir, *words, stdout: str | None = None, **environment) -> str:
        """A run that comes to its end in silence; returns what it said on stdout."""
        code, out, err = self._run(run_dir, words, environment, stdout)
        assert (code, err) == (0, ""), f"exit {code}\n{out}\n{err}"
        return out

    def ends(self, code, run_dir, *words, **environment) -> str:
        """A run that ends with this exit code; returns all that it said."""
        found, out, err = self._run(run_dir, words, environment)
        assert found == code, f"exit {found}\n{out}\n{err}"
        return out + err

    def refuses(self, run_dir, *words, **environment) -> str:
        """A run that ends with exit code 2 and one line; returns the line."""
        code, out, err = self._run(run_dir, words, environment)
        assert code == 2 and err.count("\n") == 1, f"exit {code}\n{out}\n{err}"
        assert err.startswith("qwen-base pretrain: error: ")
        return err

    def _run(self, run_dir, words, environment, stdout=None):
        argv = ["pretrain", "--config", self._micro, "--run-dir", str(run_dir), *map(str, words)]
        environment = {name: str(value) for name, value in environment.items()}
        out, err = self._outputs
        self._server.stdin.write(json.dumps([argv, environment, stdout or out, err]) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return code, "" if stdout else Path(out).read_text(), Path(err).read_text()


@pytest.fixture(scope="module")
def pretrain(environment, micro, tmp_path_factory):
    server = subprocess.Popen(
        [*OBEY, sys.executable, "-c", SERVER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield Command(server, micro, tmp_path_factory.mktemp("outputs"))
    server.stdin.close()
    server.wait()


@pytest.fixture(scope="module")
def broken_off(finished_run, read):
    """broken_off(directory, after=15): the finished run as it was after that step, not yet exported."""

    def copy(run_dir: Path, after: int = 15) -> Path:
        shutil.copytree(finished_run, run_dir, ignore=shutil.ignore_patterns("export", "export-*"))
        for path in run_dir.glob("checkpoints/step-*"):
            if int(path.name[5:]) > after:
                shutil.rmtree(path)
        (run_dir / "manifest.json").write_text(json.dumps(read.manifest(run_dir) | {"status": "failed"}))
        return run_dir

    return copy


@pytest.fixture
def assert_unhurt(finished_run, read):
    """assert_unhurt(run): it is finished, every step and every weight as in the run that nothing happened to."""

    def check(run_dir: Path) -> None:
        assert read.manifest(run_dir)["status"] == "finished"
        assert read.trajectory(run_dir) == read.trajectory(finished_run)
        weights = [run / "export/model.safetensors" for run in (run_dir, finished_run)]
        assert weights[0].read_bytes() == weights[1].read_bytes()

    return check


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
    assert not list(tmp_path.glob("run/*.yaml"))


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
    assert "delete it: the run goes on from its checkpoints" in pretrain.refuses(run_dir)
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
@obeying
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
@obeying
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
        assert f"{run_dir}: another process (pid {os.getpid()}) is at work on this run" in pretrain.refuses(run_dir)
    assert (run_dir / "metrics.jsonl").read_bytes() == before


# ---- steps that go wrong

SPIKING = ("training.steps=40", "export=none")


@pytest.fixture(scope="module")
def forty_steps(pretrain, tmp_path_factory):
    """A run that never saw a bad sample."""
    run_dir = tmp_path_factory.mktemp("forty") / "run"
    pretrain(run_dir, *SPIKING)
    return run_dir


def test_gradients_that_are_no_numbers_cost_a_step(pretrain, read, finished_run, tmp_path):
    """And stay out: a run killed after it, and done again without the fault, has the same weights."""
    said = pretrain(tmp_path / "run", "export=none", QWEN_FAULTS="nan@7")
    assert "step 7: loss " in said and "gradient norm nan: the weights stay as they were" in said
    records, clean = read.records(tmp_path / "run"), read.records(finished_run)
    assert records[6]["train/loss"] == clean[6]["train/loss"] and records[6]["train/grad_norm"] is None
    assert records[7]["train/loss"] != clean[7]["train/loss"]
    assert [record.get("guards/nonfinite") for record in records] == [None] * 6 + [1] * 14
    assert records[-1]["train/loss"] == pytest.approx(clean[-1]["train/loss"], rel=0.1)

    pretrain.ends(-signal.SIGKILL, tmp_path / "killed", "export=none", QWEN_FAULTS="nan@7 kill@9")
    said = pretrain(tmp_path / "killed", "export=none")
    assert "going on after step 5" in said and "step 7: left out, as when it was first done" in said
    assert [r["train/loss"] for r in read.records(tmp_path / "killed")] == [r["train/loss"] for r in records]


def test_no_good_step_any_more_ends_the_run(pretrain, assert_unhurt, tmp_path):
    """What comes after the last checkpoint is tried again, perhaps on a machine that can add."""
    said = pretrain.ends(1, tmp_path / "run", QWEN_FAULTS="nan@7-9")
    assert "failed: step 9: loss " in said and "3 steps in a row" in said
    pretrain(tmp_path / "run")
    assert_unhurt(tmp_path / "run")


def test_a_spike_is_undone_and_its_samples_are_left_out(pretrain, read, forty_steps, tmp_path):
    said = pretrain(tmp_path / "run", *SPIKING, QWEN_FAULTS="spike@33")
    assert "back to step 25, and other samples in steps 30 to 33" in said
    records, clean = read.records(tmp_path / "run"), read.records(forty_steps)
    assert [record["step"] for record in records] == list(range(1, 41))
    same = [a["data/samples"] == b["data/samples"] for a, b in zip(records, clean, strict=True)]
    assert same == [True] * 29 + [False] * 4 + [True] * 7
    assert read.trajectory(tmp_path / "run")[:29] == read.trajectory(forty_steps)[:29]
    (event,) = json.loads((tmp_path / "run/checkpoints/skipped.json").read_text())
    assert event["skipped"] == {str(step): clean[step - 1]["data/samples"] for step in range(30, 34)}
    for name in ("train/loss", "val/loss"):
        assert records[-1][name] == pytest.approx(clean[-1][name], rel=0.01)

    # Killed after it: the same skips, the same run.
    pretrain.ends(-signal.SIGKILL, tmp_path / "killed", *SPIKING, QWEN_FAULTS="spike@33 kill@36")
    pretrain(tmp_path / "killed", *SPIKING, QWEN_FAULTS="spike@33")
    assert read.trajectory(tmp_path / "killed") == read.trajectory(tmp_path / "run")


@pytest.mark.slow
def test_a_jump_that_stays_does_not_end_the_run(pretrain, read, tmp_path):
    """Here every sample from step 30 on is bad, and so are the spare ones."""
    said = pretrain(tmp_path / "run", *SPIKING, QWEN_FAULTS="spike@30-200")
    assert said.count("back to step 25") == 1 and "the loss jumps, with other samples too" in said
    assert len(read.records(tmp_path / "run")) == 40


# ---- hangs and stops


def test_a_hung_process_says_where_and_ends(pretrain, read, assert_unhurt, tmp_path):
    said = pretrain.ends(1, tmp_path / "run", "guards.step_timeout=2", QWEN_FAULTS="hang@8")
    assert "no progress for 2 s" in said
    stacks = (tmp_path / "run/logs/stacks-rank-0.txt").read_text()
    assert "in reach" in stacks and "loop.py" in stacks
    manifest, reason = read.manifest(tmp_path / "run"), "no progress for 2 s (guards.step_timeout)"
    assert (manifest["status"], manifest["reason"]) == ("failed", reason)
    assert reason in (tmp_path / "run/report.html").read_text()
    pretrain(tmp_path / "run")
    assert_unhurt(tmp_path / "run")


@pytest.fixture
def two_ranks(environment, tmp_path):
    """two_ranks(faults, *words, check=0): `qwen-base pretrain --nproc 2` on tmp_path/run."""

    def run(faults, *words, check=0):
        command = [sys.executable, "-m", "qwen_base", "pretrain", "--nproc", "2", "--run-dir", tmp_path / "run", *words]
        environ = environment | ({"QWEN_FAULTS": faults} if faults else {})
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=240)
        assert done.returncode == check, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_one_hung_rank_ends_all_with_their_stacks(two_ranks, micro, finished_run, read, tmp_path):
    words = ("--config", micro, "guards.step_timeout=8")
    assert "no progress for 8 s" in two_ranks("hang@12/1", *words, check=1)
    stacks = [(tmp_path / f"run/logs/stacks-rank-{rank}.txt").read_text() for rank in range(2)]
    assert "in reach" in stacks[1] and "in reach" not in stacks[0] and "loop.py" in stacks[0]
    assert "going on after step 10" in two_ranks("", *words)
    losses = [[record["train/loss"] for record in read.records(run)] for run in (tmp_path / "run", finished_run)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.slow
def test_two_ranks_leave_out_and_go_back_alike(two_ranks, micro, read, tmp_path):
    """The bad gradient is one rank's; what comes of it is all ranks'."""
    said = two_ranks("nan@9/1 spike@33", "--config", micro, *SPIKING)
    assert "step 9: loss " in said and "back to step 25" in said
    last = read.records(tmp_path / "run")[-1]
    assert (last["step"], last["guards/nonfinite"], last["guards/rollbacks"]) == (40, 1, 1)


@pytest.mark.slow
def test_the_slow_rank_is_seen(two_ranks, micro, read, tmp_path):
    two_ranks("slow@1-8/1", "--config", micro, "training.steps=8", "export=none")
    records = read.records(tmp_path / "run")
    assert [record["time/slowest_rank"] for record in records] == [1] * 8
    assert all(0.5 < record["time/slowest_share"] <= 1.0 for record in records[1:])
    assert all(record["time/median_share"] < record["time/slowest_share"] for record in records)


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        ("term@0#start-up", "term@3", "term@10#evaluation", "term@15#checkpointing", "term@20#export"),
        ("term@10#generation",),
    ],
)
def test_a_stop_in_any_phase_loses_nothing(faults, pretrain, read, assert_unhurt, steps_done, tmp_path):
    for fault in faults:
        said = pretrain.ends(75, tmp_path / "run", QWEN_FAULTS=fault)
        step, _, phase = fault.partition("@")[2].partition("#")
        if phase in ("start-up", "export"):
            continue
        step = int(step) + (phase == "checkpointing")  # which comes after the step
        assert f"stopped by SIGTERM after step {step}, all saved" in said
        assert steps_done(tmp_path / "run") == step
        assert (tmp_path / f"run/checkpoints/step-{step:>08}").is_dir()
        assert read.manifest(tmp_path / "run")["status"] == "stopped"
    pretrain(tmp_path / "run")
    assert_unhurt(tmp_path / "run")


@pytest.mark.slow
def test_nobody_at_the_other_end_of_wandb(pretrain, read, finished_run, tmp_path):
    """A server that takes connections and never answers: a moment at the begin, and not a step is slower."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        online = {
            "WANDB_API_KEY": "a" * 40,
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "NETRC": "/nonexistent",
        }
        began = time.monotonic()
        said = pretrain(tmp_path / "run", "export=none", "tracking.wandb=online", **online)
        seconds = time.monotonic() - began
    assert read.trajectory(tmp_path / "run") == read.trajectory(finished_run)
    assert said.count("W&B cannot be reached (") == 1
    assert f"logging offline, to {tmp_path / 'run/wandb'}; `wandb sync {tmp_path / 'run/wandb'}/offline-run-*`" in said
    assert "W&B online does not start" in (tmp_path / "run/log.txt").read_text()
    assert seconds < 60
    clean = read.records(finished_run)[-1]["time"]
    assert read.records(tmp_path / "run")[-1]["time"] < 3 * clean + 2
