"""`qwen-family` over commands that only write down what they were asked."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

# Does what a package's command does as far as a family can see: a run directory, a manifest, exit codes.
TOY = """#!{python}
import json, pathlib, signal, sys, time
words = sys.argv[1:]
with open("asked.jsonl", "a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *words]) + "\\n")
if "wrong=key" in words:
    sys.exit("toy: error: unknown key 'wrong'")
if "--check" in words:
    sys.exit(0)
run = pathlib.Path(words[words.index("--run-dir") + 1])
run.mkdir(parents=True, exist_ok=True)
def leave(status, results):
    fields = dict(command="toy", kind="toy", name="t", status=status, created="", updated="", results=results)
    (run / "half").write_text(json.dumps(fields))
    (run / "half").replace(run / "manifest.json")
if "wait=yes" in words and not (run / "manifest.json").is_file():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: (leave("stopped", {{}}), sys.exit(75)))
    leave("running", {{}})
    time.sleep(60)
if "fail=yes" in words:
    sys.exit(1)
leave("finished", {{"accuracy": 0.5, "seconds": 61.0}})
"""

STAGES = """
name: t
stages:
  - {name: base, command: toy-qwen pretrain, goals: {accuracy: ">= 0.4"}}
  - {name: tuned, command: toy-qwen sft, parent: base, keys: ["judge={base}"]}
"""


@pytest.fixture
def family(tmp_path, environment):
    """family(yaml, words…) → the finished process; `.asked()` what the toy was asked, `.start` gives it running."""
    programs = tmp_path / "programs"
    programs.mkdir()
    toy = programs / "toy-qwen"
    toy.write_text(TOY.format(python=sys.executable))
    toy.chmod(0o755)

    def start(text: str, *words: str) -> subprocess.Popen:
        (tmp_path / "family.yaml").write_text(text)
        return subprocess.Popen(
            [sys.executable, "-m", "qwen_shared.family", "--config", "./family.yaml", *words],
            cwd=tmp_path,
            env=environment | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(text: str, *words: str) -> subprocess.CompletedProcess:
        process = start(text, *words)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    run.start = start
    run.folder = tmp_path
    run.read = lambda: (tmp_path / "asked.jsonl").read_text().splitlines()
    run.asked = lambda: [words for line in run.read() if "--check" not in (words := json.loads(line))]
    return run


def test_stages_run_in_order_and_each_from_its_parent(family):
    done = family(STAGES)
    assert done.returncode == 0, done.stderr
    shared = ["--config", "t", "--run-dir"]
    assert family.asked() == [
        ["toy-qwen", "pretrain", *shared, "runs/toy-pretrain/t"],
        ["toy-qwen", "sft", *shared, "runs/toy-sft/t", "judge=runs/toy-pretrain/t", "--from", "runs/toy-pretrain/t"],
    ]
    for word in ("base", "tuned", "finished", "1:01", "accuracy", ">= 0.4", "0.500"):
        assert word in done.stdout


def test_a_missed_goal_is_a_failure_at_the_end(family):
    done = family(STAGES.replace(">= 0.4", ">= 0.6"))
    assert done.returncode == 1
    assert done.stderr == "qwen-family: stage base misses its goal: accuracy 0.5, to be >= 0.6\n"
    assert len(family.asked()) == 2 and "goal missed" in done.stdout


def test_a_stage_that_fails_ends_it_with_its_code(family):
    done = family(STAGES.replace("parent: base", "parent: base, config: other").replace('"judge={base}"', '"fail=yes"'))
    assert done.returncode == 1 and "stage tuned ended with exit code 1" in done.stderr
    assert family.asked()[1][2:4] == ["--config", "other"]


def test_mistakes_in_late_stages_cost_nothing(family):
    done = family(STAGES.replace('"judge={base}"', '"wrong=key"'))
    assert done.returncode == 2
    assert done.stderr == "qwen-family: error: stage tuned: toy: error: unknown key 'wrong'\n"
    assert family.asked() == [] and not (family.folder / "runs").exists()


def test_every_stage_s_mistake_is_a_line(family):
    done = family(
        STAGES.replace('"judge={base}"', '"wrong=key"').replace('{accuracy: ">= 0.4"}', "{}, keys: [wrong=key]")
    )
    assert done.returncode == 2
    said = "qwen-family: error: stage {}: toy: error: unknown key 'wrong'\n"
    assert done.stderr == said.format("base") + said.format("tuned")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_stops_it_stops_the_stage_and_it_goes_on(family, number):
    text = STAGES.replace('"judge={base}"', '"wait=yes"')
    process = family.start(text)
    manifest = family.folder / "runs/toy-sft/t/manifest.json"
    deadline = time.monotonic() + 30
    while not manifest.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 75, err
    assert err == "stopped; the same command resumes\n" and "stopped" in out
    assert family(text).returncode == 0


def test_other_braces_are_yaml(family):
    assert family(STAGES.replace("judge={base}", "data.sources=[{path: stdlib}]")).returncode == 0
    assert "data.sources=[{path: stdlib}]" in family.asked()[-1]


def test_on_slurm_every_stage_waits_for_those_it_needs(family):
    sbatch = family.folder / "programs/sbatch"
    sbatch.write_text('#!/bin/sh\necho "$@" >> sbatch.txt\nwc -l < sbatch.txt\n')
    sbatch.chmod(0o755)
    done = family(STAGES, "--launcher", "slurm", "--nproc", "2", "--slurm", "partition=gpu")
    assert done.returncode == 0, done.stderr
    assert family.asked() == []  # nothing runs here
    first, second = (family.folder / "sbatch.txt").read_text().splitlines()
    assert "--dependency" not in first and first.endswith("runs/toy-pretrain/t/logs/slurm.sh")
    assert "--dependency=afterok:1 " in second and second.endswith("runs/toy-sft/t/logs/slurm.sh")
    script = (family.folder / "runs/toy-sft/t/logs/slurm.sh").read_text()
    assert "-m toy_qwen sft --config t --run-dir runs/toy-sft/t judge=runs/toy-pretrain/t --from" in script
    assert "#SBATCH --partition=gpu" in script


def test_the_launcher_s_flags_are_every_stage_s(family):
    assert family(STAGES, "--nproc", "2").returncode == 0
    assert all(words[words.index("--nproc") + 1] == "2" for words in family.asked())


def test_plan_runs_nothing(family):
    done = family(STAGES, "--plan")
    assert done.returncode == 0 and "not begun" in done.stdout and family.asked() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("parent: base", "parent: bass"), "stage tuned: no stage bass comes before it (before it: base)"),
        (("name: tuned", "name: base"), "two stages are named base"),
        (("toy-qwen sft", "toy-qwen pretrain"), "stages base and tuned would share runs/toy-pretrain/t"),
        ((">= 0.4", "0.4"), "'0.4' is not a goal"),
        (("{base}", "{bass}"), "no stage bass comes before it"),
        (("toy-qwen sft", "toy-qwen"), "stages.1.command"),
        (("toy-qwen sft", "qwen-toys sft"), "no command qwen-toys is installed"),
        (("toy-qwen sft", "bash ./evil.sh"), "'bash ./evil.sh' is not a command of this suite"),
        (("judge={base}", "--run-dir=elsewhere"), "'--run-dir=elsewhere' is not key=value"),
        (("name: t\n", "name: ../../t\n"), "only letters, digits"),
    ],
)
def test_mistakes_are_one_line(family, change, said):
    done = family(STAGES.replace(*change))
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_goals_are_given_to_the_check_unless_the_run_has_them(family):
    assert family(STAGES).returncode == 0
    assert family(STAGES.replace("accuracy:", "accurcy:"), "--plan").returncode == 0
    checks = [words for line in family.read() if "--check" in (words := json.loads(line)) and "pretrain" in words]
    assert checks[0][-3:] == ["--check", "--result", "accuracy"]
    assert checks[-1][-3:] == ["--check", "--result", "accurcy"]
    assert family(STAGES, "--plan").returncode == 0
    assert json.loads(family.read()[-2])[-1] == "--check"
