"""The script that Slurm gets, and how it is handed over. `scripts/prove_slurm.py` runs one."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qwen_shared.errors import UserError
from qwen_shared.launch.slurm import Job, SlurmSettings, batch_script


def job(run_dir: Path = Path("runs/toy/small"), **settings) -> Job:
    return Job("toy", ["train", "name=a b"], SlurmSettings(**settings), 2, 8, 3, run_dir)


def options(script: str) -> dict[str, str]:
    """What the directives say, without the dashes."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return dict(shlex.split(line)[0].partition("=")[::2] for line in lines)


def test_settings_become_options():
    script = batch_script(
        job(
            partition="gpu",
            account="lab",
            qos="long",
            time="1-12:00:00",
            gpus_per_node=8,
            cpus_per_node=64,
            memory="500G",
            exclude=["node7", "node9"],
            sbatch=["--constraint=h100"],
            stop_before=300,
        )
    )
    assert options(script) == {
        "job-name": "toy-small",
        "partition": "gpu",
        "account": "lab",
        "qos": "long",
        "nodes": "2",
        "ntasks-per-node": "1",
        "gpus-per-node": "8",
        "cpus-per-task": "64",
        "mem": "500G",
        "time": "1-12:00:00",
        "exclude": "node7,node9",
        "output": "runs/toy/small/logs/slurm-%j.txt",
        "signal": "USR1@300",
        "open-mode": "append",
        "requeue": "",
        "constraint": "h100",
    }
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_what_is_not_set_is_left_to_the_cluster():
    stated = options(batch_script(job()))
    assert not stated.keys() & {"partition", "account", "qos", "time", "gpus-per-node", "mem", "exclude"}
    assert stated["cpus-per-task"] == "8"  # but the processes get a core each


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        ({}, [sys.executable]),
        ({"venv": "/opt/venv/"}, ["/opt/venv/bin/python"]),
        ({"container": "image.sqsh"}, ["--container-image=image.sqsh", "python3"]),
        (
            {"container": "lab/image:1", "mounts": ["/data:/data", "/home:/home"]},
            ["--container-image=lab/image:1", "--container-mounts=/data:/data,/home:/home", "python3"],
        ),
        (
            {"container": "image.sif", "gpus_per_node": 1, "mounts": ["/data"], "venv": "/venv"},
            ["apptainer", "exec", "--nv", "--bind", "/data", "image.sif", "/venv/bin/python"],
        ),
    ],
)
def test_every_node_runs_torchruns_launcher_in_its_environment(settings, begins):
    script = batch_script(job(**settings)).replace("\\\n", "")
    (line,) = [line for line in script.splitlines() if line.startswith("srun ")]
    words = shlex.split(line)
    end = ["--rdzv-endpoint", "$host:$((10000 + SLURM_JOB_ID % 20000))"]
    own = ["train", "name=a b", "--launcher", "torchrun", "--nodes", "2", "--nproc", "8", "--max-restarts", "3"]
    assert words[words.index("--wait=300") + 1 :] == [*begins, "-m", "toy", *own, *end]


@pytest.mark.parametrize(("code", "restarts", "requeued"), [(0, 0, 0), (75, 0, 1), (75, 2, 0), (1, 0, 0), (2, 1, 0)])
def test_only_a_stopped_run_goes_back_into_the_queue(code, restarts, requeued, tmp_path):
    """The script itself is run, with stand-ins for Slurm's commands."""
    script = batch_script(job(setup=["export SET=up"], max_requeues=2))
    stand_ins = {
        "srun": f'printf "%s\\n" "$SET" "$@" > {tmp_path}/srun.txt; exit {code}',
        "scontrol": f'if [ "$1" = requeue ]; then echo "$2" >> {tmp_path}/requeued.txt; else printf "b7\\nb8\\n"; fi',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "30042", "SLURM_JOB_NODELIST": "b[7-8]"}
    env["SLURM_RESTART_COUNT"] = str(restarts)
    assert subprocess.run(["bash"], input=script, text=True, env=env).returncode == code
    words = (tmp_path / "srun.txt").read_text().splitlines()
    assert (words[0], words[-1]) == ("up", "b7:20042")
    said = tmp_path / "requeued.txt"
    assert (said.read_text() if said.exists() else "") == "30042\n" * requeued


def test_submitting(tmp_path, monkeypatch):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/words.txt\necho "17;cluster"\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    mine = job(tmp_path / "runs/toy/small")
    script = tmp_path / "runs/toy/small/logs/slurm.sh"
    assert mine.submit() == "17"
    assert (tmp_path / "words.txt").read_text().splitlines() == ["--parsable", str(script)]
    assert script.read_text() == batch_script(mine)
    assert mine.submit(after=["3", "5"]) == "17"
    words = (tmp_path / "words.txt").read_text().splitlines()
    assert words == ["--parsable", "--dependency=afterok:3:5", "--kill-on-invalid-dep=yes", str(script)]
    sbatch.write_text("#!/bin/bash\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    with pytest.raises(UserError, match="invalid partition specified: gpu"):
        mine.submit()
    assert not script.parent.parent.exists()
    sbatch.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    script.parent.mkdir(parents=True)
    (script.parent / "slurm-17.txt").touch()
    with pytest.raises(UserError, match="no sbatch here"):
        mine.submit()
    assert [path.name for path in script.parent.iterdir()] == ["slurm-17.txt"]


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("5", 300), ("5:30", 330), ("1:02:03", 3723), ("2-03", 183600), ("2-03:04", 183840), ("2-03:04:05", 183845)],
)
def test_limits_as_slurm_reads_them(time, seconds):
    SlurmSettings(time=time, stop_before=seconds - 1)
    with pytest.raises(ValueError, match="is not above stop_before"):
        SlurmSettings(time=time, stop_before=seconds)


def test_what_is_no_limit():
    with pytest.raises(ValueError, match="'abc' is not a Slurm time limit"):
        SlurmSettings(time="abc")


def test_nothing_gets_out_of_a_directive():
    for settings in ({"partition": "a\nrm -rf ~"}, {"sbatch": ["--comment=a\nrm -rf ~"]}):
        with pytest.raises(UserError, match="line end"):
            batch_script(job(**settings))
    with pytest.raises(UserError, match="line end"):
        batch_script(job(Path("runs/a\nrm -rf ~")))
