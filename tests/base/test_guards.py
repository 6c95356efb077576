"""Steps, processes and services that go wrong: what guards do about it, and that nothing is lost by it."""

import json
import signal
import socket
import sys
import time

import forked
import pytest

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
    assert "going on after step 5" in said and "step 7: skipped again, as in the first attempt" in said
    assert [r["train/loss"] for r in read.records(tmp_path / "killed")] == [r["train/loss"] for r in records]


def test_no_good_step_any_more_ends_the_run(pretrain, assert_unhurt, tmp_path):
    """What comes after the last checkpoint is tried again, perhaps on a machine that can add."""
    said = pretrain.ends(1, tmp_path / "run", QWEN_FAULTS="nan@7-9")
    assert "failed: step 9: loss " in said and "3 steps in a row" in said
    pretrain(tmp_path / "run")
    assert_unhurt(tmp_path / "run")


def test_a_spike_is_undone_and_its_samples_are_left_out(pretrain, read, forty_steps, tmp_path):
    said = pretrain(tmp_path / "run", *SPIKING, QWEN_FAULTS="spike@33")
    assert "back to step 25, with other samples in steps 30 to 33" in said
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
    assert said.count("back to step 25") == 1 and "loss spike, with other samples too" in said
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
        done = forked.run(command, env=environ, capture_output=True, text=True, timeout=240)
        assert done.returncode == check, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_one_hung_rank_ends_all_with_their_stacks(two_ranks, micro, finished_run, read, tmp_path):
    words = ("--config", micro, "guards.step_timeout=8", "export=none")
    assert two_ranks("hang@12/1", *words, check=1).count("no progress for 8 s") == 1
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
