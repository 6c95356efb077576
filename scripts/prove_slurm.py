"""A run on a real Slurm that meets its time limit again and again ends as one that was never stopped.

    uv run python scripts/prove_slurm.py                         three minutes at a time, two processes
    uv run python scripts/prove_slurm.py --steps 9000 --time 5

It needs Debian's slurm-wlm and munge, or what is called so elsewhere, but no cluster: it starts one of this machine,
for this user and in a temporary directory. The same `qwen-base pretrain` runs once undisturbed and once with
`--launcher slurm`, where it is told ahead of each limit, saves, and puts itself back into the queue. Then every figure
of every line of metrics.jsonl must be equal to the last bit, and the exported weights byte for byte. Exits with 1 where
they are not, or where the job never met its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prove_resume import RECIPE, Run, differences
from rich.console import Console

CONFIGURATION = """
ClusterName=proof
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A job that goes back into the queue may begin again when its old credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=proof Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
STOP_BEFORE_S = 60


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """One node that is this machine; gives the environment in which Slurm's commands find it."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
    sbin = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    if missing := [name for name in programs if not shutil.which(name, path=sbin)]:
        raise SystemExit(f"no {', '.join(missing)} here: apt-get install slurm-wlm munge")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(64))
    key.chmod(0o400)
    with contextlib.ExitStack() as held:
        ports = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2)]
    facts = {"host": socket.gethostname(), "user": getpass.getuser(), "folder": folder, "ports": ports}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**facts, cpus=os.cpu_count()))
    env = os.environ | {"PATH": sbin, "SLURM_CONF": str(folder / "slurm.conf")}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    with contextlib.ExitStack() as running:
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.txt").open("wb") as log:
                daemon = subprocess.Popen(command, env=env, stdout=log, stderr=log)
            running.callback(_end, daemon)
            time.sleep(2)
        yield env


def _end(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(20)
    daemon.kill()
    daemon.wait()


def job_now(job: str, env: dict[str, str]) -> tuple[str, int]:
    """Its state, and how often it went back into the queue."""
    said = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", job], env=env, capture_output=True, text=True
    ).stdout
    return re.search(r"JobState=(\w+)", said)[1], int(re.search(r"Restarts=(\d+)", said)[1])


def run_on_slurm(run: Run, settings: list[str], env: dict[str, str], console: Console) -> int:
    """Submit it and wait for its end; returns how often it went back into the queue."""
    flags = ["--launcher", "slurm", *(word for setting in settings for word in ("--slurm", setting))]
    command = [*run.command, *flags, "--run-dir", str(run.directory)]
    said = subprocess.run(command, env=run.env | env, capture_output=True, text=True)
    console.print(said.stdout.strip(), said.stderr.strip(), sep="", markup=False)
    if said.returncode:
        raise SystemExit(1)
    job = re.search(r"job (\d+)", said.stdout)[1]
    before = None
    try:
        while (now := job_now(job, env))[0] in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED"):
            if now != before:
                step = run.last_record()["step"]
                console.print(f"{now[0].lower()}, {now[1]} times requeued, {step} steps done", markup=False)
            before = now
            time.sleep(1)
    except BaseException:
        subprocess.run(["scancel", job], env=env)
        raise
    if now[0] != "COMPLETED":
        log = (run.directory / "logs" / f"slurm-{job}.txt").read_text(errors="replace")
        raise SystemExit(f"the job ended as {now[0]}:\n{log[-3000:]}")
    return now[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys, on top of a small run's")
    parser.add_argument("--steps", type=int, default=4000, metavar="N", help="default: 4000; it must outlast the limit")
    parser.add_argument("--time", type=int, default=3, metavar="MINUTES", help="the limit (default: 3)")
    parser.add_argument("--nproc", type=int, default=2, metavar="N", help="processes of the run (default: 2)")
    args = parser.parse_intermixed_args()
    console, began = Console(highlight=False, soft_wrap=True), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="prove-slurm-") as temporary:
        work = Path(temporary)
        words = ["--nproc", str(args.nproc), *RECIPE.split(), f"training.steps={args.steps}", "export=final"]
        words += ["checkpoint.interval=200", "evaluation.interval=200", *args.overrides]
        command = [sys.executable, "-m", "qwen_base", "pretrain", *words]
        env = {"OMP_NUM_THREADS": "1"} | os.environ
        unbroken, queued = Run(command, work / "unbroken", env), Run(command, work / "queued", env)
        unbroken.watch(unbroken.start())
        console.print(f"unbroken run: {unbroken.seconds.total():.0f} s")
        settings = [f"time={args.time}", f"stop_before={STOP_BEFORE_S}"]
        with cluster(work) as slurm:
            version = subprocess.run(["sinfo", "--version"], env=slurm, capture_output=True, text=True).stdout.strip()
            requeued = run_on_slurm(queued, settings, slurm, console)
        wrong, last = differences(unbroken, queued), queued.last_record()
    passed = requeued > 0 and not wrong
    minutes = (time.monotonic() - began) / 60
    verdict = "PASS: all lines of metrics and the exported weights are identical" if passed else "FAIL"
    verdict += f"; {version}, requeued {requeued} times, {minutes:.1f} min, loss {last['train/loss']}"
    if not requeued:
        wrong.append("the job ended before its limit, which proves nothing: give more --steps")
    console.print("\n".join([*wrong[:20], verdict]), markup=False)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
