"""Where and by whom a command's processes are started: the flags `--launcher` and on, and what follows from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import EXIT_FINISHED, UserError
from qwen_shared.launch import local, slurm
from qwen_shared.launched import is_launched
from qwen_shared.recipe.keys import whole_number
from qwen_shared.recipe.load import load_settings

LAUNCHERS = ("local", "torchrun", "slurm")
# Each takes a value. What is not given may stand in the variables that torchrun reads, too.
_VARIABLES = {
    "nodes": "PET_NNODES",
    "nproc": "PET_NPROC_PER_NODE",
    "rdzv_endpoint": "PET_RDZV_ENDPOINT",
    "max_restarts": "PET_MAX_RESTARTS",
}
NAMES = ("launcher", *_VARIABLES, "slurm")  # of the flags, in the parsed arguments
_MAX_RESTARTS = 3
# A job that is submitted does not plan.
PLAN_WORDS = ("--plan", "--json")
PLAN_VALUES = ("gpu", "mfu", "price")  # flags with a value


@dataclass(frozen=True)
class Launch:
    """`world_size` is `nodes` · `nproc`."""

    launcher: str = "local"
    nodes: int = 1
    nproc: int = 1
    endpoint: str | None = None
    max_restarts: int = 0
    settings: slurm.SlurmSettings | None = None

    @property
    def world_size(self) -> int:
        return self.nodes * self.nproc

    @property
    def starts_processes(self) -> bool:
        """Whether this process only starts others. It does not where it was started by a launcher itself."""
        return not is_launched() and (self.launcher != "local" or self.nproc > 1)


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help="local processes (default); torchrun: on several hosts, and started again where they fail; slurm: a batch "
        "job, which goes back into the queue at its time limit",
    )
    group.add_argument("--nproc", metavar="N", help="start N processes, on each host (default: 1)")
    group.add_argument("--nodes", metavar="N", help="torchrun, slurm: on N hosts (default: 1)")
    group.add_argument(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        help="torchrun: where the hosts meet, at one of them (default: MASTER_ADDR:MASTER_PORT)",
    )
    group.add_argument(
        "--max-restarts",
        metavar="N",
        help=f"torchrun, slurm: start again after failures, N times at most (default: {_MAX_RESTARTS})",
    )
    group.add_argument(
        "--slurm",
        action="append",
        metavar="FILE|key=value",
        help=f"slurm: settings of the cluster, in YAML or one by one: {', '.join(slurm.SlurmSettings.model_fields)}",
    )


def read_flags(args: argparse.Namespace) -> Launch:
    """Raises UserError where the flags contradict each other, or are not of the launcher."""
    launcher = args.launcher
    own = {
        "local": ("nproc",),
        "torchrun": ("nproc", "nodes", "rdzv_endpoint", "max_restarts"),
        "slurm": ("nproc", "nodes", "max_restarts", "slurm"),
    }
    for name in NAMES[1:]:
        if getattr(args, name) is not None and name not in own[launcher]:
            fitting = " or ".join(other for other in LAUNCHERS if name in own[other])
            raise UserError(f"--{name.replace('_', '-')} is for --launcher {fitting}, not for {launcher}")
    settings = load_settings(slurm.SlurmSettings, args.slurm or [], "--slurm") if launcher == "slurm" else None
    if launcher == "local":
        return Launch(nproc=_count(args, "nproc", 1))
    if args.rdzv_endpoint is not None:
        split_endpoint(args.rdzv_endpoint)
    usual = settings.gpus_per_node or 1 if settings else 1
    nodes, nproc = _count(args, "nodes", 1), _count(args, "nproc", usual)
    endpoint = _endpoint(args) if launcher == "torchrun" and nodes > 1 else None
    return Launch(launcher, nodes, nproc, endpoint, _count(args, "max_restarts", _MAX_RESTARTS, least=0), settings)


def start(launch: Launch, package: str, argv: Sequence[str], run_dir: Path) -> int:
    """Run `python -m package argv` as `launch` says; returns the exit code."""
    if launch.launcher == "local":
        return local.launch(package, list(argv), launch.nproc, run_dir / "logs")
    if launch.launcher == "torchrun":
        # Read when torch is loaded: what its warnings come to is said by us. The ranks' own are in their logs.
        unset = "TORCH_CPP_LOG_LEVEL" not in os.environ
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from qwen_shared.launch import elastic

        if unset:
            del os.environ["TORCH_CPP_LOG_LEVEL"]
        return elastic.launch(
            package, list(argv), launch.nodes, launch.nproc, launch.endpoint, launch.max_restarts, run_dir
        )
    job = slurm_job(launch, package, argv, run_dir).submit()
    print(f"submitted as job {job}; what it says goes to {run_dir / 'logs' / f'slurm-{job}.txt'}")
    return EXIT_FINISHED


def slurm_job(launch: Launch, package: str, argv: Sequence[str], run_dir: Path) -> slurm.Job:
    """What `start` hands to Slurm."""
    words = _own_words(argv)
    return slurm.Job(package, words, launch.settings, launch.nodes, launch.nproc, launch.max_restarts, run_dir)


def _own_words(argv: Sequence[str]) -> list[str]:
    """The command's words without those of this file, and of --plan."""
    flags = [f"--{name.replace('_', '-')}" for name in (*NAMES, *PLAN_VALUES)]
    words, rest = [], iter(argv)
    for word in rest:
        flag, equals, _ = word.partition("=")
        if flag in flags:
            if not equals:
                next(rest, None)
        elif word not in PLAN_WORDS:
            words.append(word)
    return words


def _count(args: argparse.Namespace, name: str, default: int, least: int = 1) -> int:
    """A flag's number, or that of the variable that torchrun would read."""
    text, said = getattr(args, name), f"--{name.replace('_', '-')}"
    if text is None and args.launcher == "torchrun":
        text, said = os.environ.get(_VARIABLES[name]), f"${_VARIABLES[name]}"
    if text is None:
        return default
    number = whole_number(text)
    if number is None or number < least:
        raise UserError(f"{said}: '{text}' is not a number from {least} up")
    return number


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """HOST:PORT in two. Raises UserError."""
    host, colon, port = endpoint.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--rdzv-endpoint {endpoint}: expected HOST:PORT, of one of the hosts")
    return host, int(port)


def _endpoint(args: argparse.Namespace) -> str:
    found = args.rdzv_endpoint or os.environ.get(_VARIABLES["rdzv_endpoint"])
    if not found and "MASTER_ADDR" in os.environ:
        found = f"{os.environ['MASTER_ADDR']}:{os.environ.get('MASTER_PORT', '29500')}"
    if found:
        split_endpoint(found)
        return found
    raise UserError("--launcher torchrun on several hosts: --rdzv-endpoint HOST:PORT says at which of them they meet")
