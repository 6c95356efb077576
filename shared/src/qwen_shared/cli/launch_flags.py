"""The flags that say where a command runs: `--launcher`, `--nproc`, …"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from qwen_shared.cli.plan_flags import PLAN_SWITCHES, PLAN_VALUES
from qwen_shared.errors import UserError
from qwen_shared.launch.launchers import LAUNCHERS, Launch
from qwen_shared.launch.slurm import SlurmSettings
from qwen_shared.recipe.keys import whole_number
from qwen_shared.recipe.load import load_settings

# Flags with a number or an address, and the variables of torchrun that stand in for them.
VARIABLES = {
    "nodes": "PET_NNODES",
    "nproc": "PET_NPROC_PER_NODE",
    "rdzv_endpoint": "PET_RDZV_ENDPOINT",
    "max_restarts": "PET_MAX_RESTARTS",
}
_NAMES = ("launcher", *VARIABLES, "slurm")
_FITTING = {
    "local": ("nproc",),
    "torchrun": ("nproc", "nodes", "rdzv_endpoint", "max_restarts"),
    "slurm": ("nproc", "nodes", "max_restarts", "slurm"),
}
_MAX_RESTARTS = 3


def add_launch_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help="local: processes on this machine (default); torchrun: on several hosts, restarted after failures; slurm: "
        "a batch job, which goes back into the queue at its time limit",
    )
    group.add_argument("--nproc", metavar="N", help="start N processes on each host (default: 1)")
    group.add_argument("--nodes", metavar="N", help="torchrun, slurm: on N hosts (default: 1)")
    group.add_argument(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        help="torchrun: the host and port where the hosts meet (default: MASTER_ADDR:MASTER_PORT)",
    )
    group.add_argument(
        "--max-restarts",
        metavar="N",
        help=f"torchrun, slurm: restart after failures, at most N times (default: {_MAX_RESTARTS})",
    )
    group.add_argument(
        "--slurm",
        action="append",
        metavar="FILE|key=value",
        help=f"slurm: settings of the cluster, a YAML file or single keys: {', '.join(SlurmSettings.model_fields)}",
    )


def read_launch_flags(args: argparse.Namespace) -> Launch:
    """Raises UserError if the flags contradict each other or do not belong to the launcher."""
    launcher = args.launcher
    for name in _NAMES[1:]:
        if getattr(args, name) is not None and name not in _FITTING[launcher]:
            fitting = " or ".join(other for other in LAUNCHERS if name in _FITTING[other])
            raise UserError(f"{_flag(name)} is for --launcher {fitting}, not for {launcher}")
    if launcher == "local":
        return Launch(nproc=_count(args, "nproc", 1))
    settings = load_settings(SlurmSettings, args.slurm or [], "--slurm") if launcher == "slurm" else None
    nodes = _count(args, "nodes", 1)
    nproc = _count(args, "nproc", settings.gpus_per_node or 1 if settings else 1)
    endpoint = _endpoint(args, needed=nodes > 1) if launcher == "torchrun" else None
    max_restarts = _count(args, "max_restarts", _MAX_RESTARTS, least=0)
    return Launch(launcher, nodes, nproc, endpoint, max_restarts, settings)


def launch_arguments(args: argparse.Namespace) -> list[str]:
    """The launch flags as they were typed."""
    typed: list[str] = []
    for name in _NAMES:
        value = getattr(args, name)
        for one in value if isinstance(value, list) else [value]:
            typed += [] if one in (None, "local") else [_flag(name), one]
    return typed


def own_arguments(argv: Sequence[str]) -> list[str]:
    """`argv` without the flags for launching and planning: what a launched process gets."""
    with_value = [_flag(name) for name in (*_NAMES, *PLAN_VALUES)]
    own, rest = [], iter(argv)
    for argument in rest:
        flag, equals, _ = argument.partition("=")
        if flag in with_value:
            if not equals:
                next(rest, None)
        elif argument not in PLAN_SWITCHES:
            own.append(argument)
    return own


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _count(args: argparse.Namespace, name: str, default: int, least: int = 1) -> int:
    text, source = getattr(args, name), _flag(name)
    if text is None and args.launcher == "torchrun":
        text, source = os.environ.get(VARIABLES[name]), f"${VARIABLES[name]}"
    if text is None:
        return default
    number = whole_number(text)
    if number is None or number < least:
        raise UserError(f"{source}: '{text}' is not a whole number of at least {least}")
    return number


def _endpoint(args: argparse.Namespace, needed: bool) -> tuple[str, int] | None:
    text = args.rdzv_endpoint
    if text is None and needed:
        text = os.environ.get(VARIABLES["rdzv_endpoint"])
        if not text and "MASTER_ADDR" in os.environ:
            text = f"{os.environ['MASTER_ADDR']}:{os.environ.get('MASTER_PORT', '29500')}"
        if not text:
            raise UserError("--launcher torchrun on several hosts needs --rdzv-endpoint HOST:PORT, where they meet")
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"--rdzv-endpoint {text}: expected HOST:PORT, with one of the hosts")
    return (host, int(port)) if needed else None
