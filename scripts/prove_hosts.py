"""A run over two hosts, one of which dies now and then, ends as one that never left a machine.

    sudo uv run python scripts/prove_hosts.py

The hosts are two network namespaces of this machine with a cable between them, each with a name that the other does not
know. Both run `qwen-base pretrain --launcher torchrun --nodes 2`. On the way

    1. host b is killed: its connections are closed. It is started again; host a has never stopped waiting for it.
    2. host b loses its power: nothing comes from it any more, not even the end of a connection. It is started again.
    3. host a is killed, which holds rank 0 and the place where the hosts meet. Both are started again.

Then every figure of every line of metrics.jsonl must be equal to the last bit to those of the same run in two local
processes, and the exported weights byte for byte. Exits with 1 where they are not. Needs Linux, root and iproute2.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from prove_resume import RECIPE, Run, differences
from rich.console import Console

ADDRESSES = {"a": "10.77.31.1", "b": "10.77.31.2"}
ENDPOINT = f"{ADDRESSES['a']}:29400"
DEADLINE_S = 600.0  # for the next thing to happen


class Host:
    """A network namespace, and what runs in it."""

    def __init__(self, name: str, run: Run):
        self.name, self._space, self._run = name, f"qwen-proof-{name}", run
        self.console = run.directory.with_name(f"host-{name}.txt")
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Host:
        ip("netns", "add", self._space)
        return self

    def __exit__(self, *_) -> None:
        self.kill()
        ip("netns", "delete", self._space)

    def plug_in(self) -> None:
        """Its end of the cable gets an address."""
        for name in ("lo", "cable"):
            ip("-n", self._space, "link", "set", name, "up")
        ip("-n", self._space, "address", "replace", f"{ADDRESSES[self.name]}/24", "dev", "cable")

    def start(self) -> None:
        flags = ["--launcher", "torchrun", "--nodes", "2", "--rdzv-endpoint", ENDPOINT]
        command = [*self._run.command, *flags, "--run-dir", str(self._run.directory)]
        named = ["unshare", "--uts", "sh", "-c", f'hostname host-{self.name} && exec "$@"', "sh", *command]
        with self.console.open("ab") as out:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            in_space = ["ip", "netns", "exec", self._space, *named]
            self._process = subprocess.Popen(in_space, env=self._run.env, start_new_session=True, **streams)

    def kill(self) -> None:
        """All that runs there, at once."""
        for pid in ip("netns", "pids", self._space).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if self._process:
            self._process.wait()

    def lose_power(self) -> None:
        ip("-n", self._space, "link", "set", "cable", "down")
        self.kill()

    @property
    def exit_code(self) -> int | None:
        """None while its command runs."""
        return self._process.poll()

    def said(self) -> str:
        return self.console.read_text(errors="replace")


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def two_hosts(run: Run) -> Iterator[tuple[Host, Host]]:
    with Host("a", run) as a, Host("b", run) as b:
        ends = [["name", "cable", "netns", f"qwen-proof-{name}"] for name in ADDRESSES]
        ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        a.plug_in()
        b.plug_in()
        yield a, b


def until(condition, hosts: tuple[Host, Host], what: str) -> float:
    """Wait for it; returns how long that took. Raises SystemExit with what the hosts said where it does not come."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > DEADLINE_S:
            raise SystemExit("\n".join([f"no {what}", *(f"host {h.name}: {h.said()[-3000:]}" for h in hosts)]))
        time.sleep(0.05)
    return time.monotonic() - began


def run_over_hosts(run: Run, steps: int, console: Console) -> None:
    with two_hosts(run) as (a, b):

        def reach(step: int) -> None:
            """Wait until the run has done more than so many steps, on hosts that are both at work."""
            ended = lambda: {a.exit_code, b.exit_code} != {None}
            until(lambda: ended() or run.last_record()["step"] > step, (a, b), f"step {step}")
            if ended():
                raise SystemExit(f"a host has ended before step {step}:\n{a.said()[-3000:]}\n{b.said()[-3000:]}")

        def tell(what: str, before: int) -> None:
            reach(before)
            console.print(f"{what}; at step {before} then, at {run.last_record()['step']} again", markup=False)

        a.start()
        b.start()
        reach(steps // 5)
        b.kill()
        before = run.last_record()["step"]
        took = until(lambda: "restart 1 of" in a.said(), (a, b), "restart")
        b.start()
        tell(f"host b was killed; host a noticed after {took:.1f} s, and met it again", before)

        reach(max(before, 2 * steps // 5))
        b.lose_power()
        before = run.last_record()["step"]
        time.sleep(10)
        assert a.exit_code is None
        b.plug_in()
        b.start()
        tell("host b lost its power for 10 s; host a met it again", before)

        reach(max(before, 3 * steps // 5))
        a.kill()
        before = run.last_record()["step"]
        took = until(lambda: b.exit_code is not None, (a, b), "end of host b")
        if b.exit_code in (0, 2, 75):
            raise SystemExit(f"host b ended with exit code {b.exit_code}")
        console.print(f"host a was killed; host b ended after {took:.1f} s: {b.said().splitlines()[-1]}", markup=False)
        a.start()
        b.start()
        tell("both were started again", before)
        until(lambda: None not in (a.exit_code, b.exit_code), (a, b), "end")
        if (a.exit_code, b.exit_code) != (0, 0):
            raise SystemExit(f"exit codes {a.exit_code}, {b.exit_code}:\n{a.said()[-3000:]}\n{b.said()[-3000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe keys, on top of a small run's")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="default: 1000")
    args = parser.parse_intermixed_args()
    if os.geteuid() or not shutil.which("ip"):
        raise SystemExit("this needs root, to make network namespaces, and iproute2")
    console, began = Console(highlight=False, soft_wrap=True), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="prove-hosts-") as temporary:
        work = Path(temporary)
        words = [*RECIPE.split(), f"training.steps={args.steps}", "export=final"]
        words += ["checkpoint.interval=50", "evaluation.interval=100", *args.overrides]
        command = [sys.executable, "-m", "qwen_base", "pretrain", *words]
        env = {"OMP_NUM_THREADS": "1"} | os.environ
        unbroken = Run([*command, "--nproc", "2"], work / "unbroken", env)
        spread = Run(command, work / "spread", env)
        unbroken.watch(unbroken.start())
        console.print(f"unbroken run in two local processes: {unbroken.seconds.total():.0f} s")
        run_over_hosts(spread, args.steps, console)
        wrong, last = differences(unbroken, spread), spread.last_record()
    minutes = (time.monotonic() - began) / 60
    verdict = "FAIL" if wrong else "PASS: all lines of metrics and the exported weights are identical"
    verdict += f"; 3 deaths of a host, {minutes:.1f} min, loss {last['train/loss']}"
    console.print("\n".join([*wrong[:20], verdict]), markup=False)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
