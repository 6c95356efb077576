"""One call of a package's command: parse, check all that is cheap, then start the verb's work."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from qwen_shared.cli.failure import report_failure
from qwen_shared.cli.launch_flags import own_arguments, read_launch_flags
from qwen_shared.cli.parser import check_encoding, parse_tool, parse_verb, pick_verb
from qwen_shared.cli.plan_flags import check_plan_flags, plan_text
from qwen_shared.cli.request import Request
from qwen_shared.cli.verb import Tool, Verb
from qwen_shared.errors import EXIT_FINISHED, EXIT_STOPPED, Stopped
from qwen_shared.launch import launchers, local, slurm
from qwen_shared.launch.launchers import Launch
from qwen_shared.launched import LAUNCHER_PID, TIME_IS_UP
from qwen_shared.log import log_file
from qwen_shared.recipe.keys import print_keys
from qwen_shared.run import inspect_run
from qwen_shared.run.manifest import RECIPE

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, TIME_IS_UP)

_interrupted = False


def run(
    prog: str,
    description: str,
    verbs: list[Verb | Tool],
    recipes: Path,
    default_config: str = "tiny",
    argv: list[str] | None = None,
) -> int:
    """Returns the exit code (see `errors`). Only our own bugs show a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    command = prog
    local.die_with_launcher()
    _catch_stop_signals()
    try:
        check_encoding(argv)
        verb = pick_verb(prog, description, verbs, recipes, argv)
        if verb is None:
            return EXIT_FINISHED
        command = f"{prog} {verb.name}"
        if isinstance(verb, Tool):
            return _run_tool(command, verb, argv)
        return _run_verb(command, verb, recipes / verb.recipes, default_config, argv)
    except Stopped as stopped:
        _ignore_stop_signals()  # a second Ctrl-C must not change the exit code
        if os.environ.get("RANK", "0") == "0":
            print(stopped, file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:  # outside a training loop
        print(f"{command}: stopped; the same command starts again", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:  # the reader, such as `head`, has closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINISHED
    except Exception as error:
        return report_failure(command, error)


def _run_tool(command: str, tool: Tool, argv: list[str]) -> int:
    args = parse_tool(command, tool, argv[1:])
    with log_file(None):
        return _load(tool.target)(args)


def _run_verb(command: str, verb: Verb, recipes: Path, default_config: str, argv: list[str]) -> int:
    args = parse_verb(command, verb, recipes, default_config, argv[1:])
    if args.keys:
        print_keys(verb.schema)
        return EXIT_FINISHED
    launch = Launch() if verb.reads_run else read_launch_flags(args)
    check_plan_flags(args)
    request = Request(command, verb, recipes, args.config or default_config, args, launch)
    if args.check:
        request.check_recipe()
        return EXIT_FINISHED
    invocation = request.check()
    run_dir = invocation.run_dir
    finished = not verb.reads_run and inspect_run(run_dir, invocation.recipe) == "finished"
    package, arguments = verb.target.partition(".")[0], own_arguments(argv)
    if args.plan and verb.plan:
        with log_file(None):
            text = plan_text(_load(verb.plan)(invocation), args.json)
        print(text)
        if launch.launcher == "slurm" and not args.json:
            print("\n" + slurm.batch_script(launch.slurm_job(package, arguments, run_dir)), end="")
    elif args.show_batch and verb.show_batch:
        with log_file(None):
            _load(verb.show_batch)(invocation, args.show_batch)
    elif finished:
        if os.environ.get("RANK", "0") == "0":
            print(f"{run_dir} is finished; another --run-dir or name=… starts a new run")
    elif launch.starts_processes:
        return launchers.start(launch, package, arguments, run_dir)
    else:
        has_run = not verb.reads_run or (run_dir / RECIPE).is_file()
        with log_file(run_dir if has_run else None):
            _load(verb.target)(invocation)
    return EXIT_FINISHED


def _load(target: str) -> Callable[..., Any]:
    module, _, function = target.partition(":")
    loaded = getattr(importlib.import_module(module), function)
    if _interrupted:  # Python swallows a KeyboardInterrupt in a weak reference's callback
        raise KeyboardInterrupt
    return loaded


def _catch_stop_signals() -> None:
    global _interrupted
    _interrupted = False
    for number in _STOP_SIGNALS:
        signal.signal(number, _interrupt)
    if LAUNCHER_PID in os.environ:  # the launcher answers SIGUSR1
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _ignore_stop_signals() -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    _ignore_stop_signals()  # `uv run` passes on a Ctrl-C that the terminal has sent already
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt
