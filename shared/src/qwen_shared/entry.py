"""The start of every command, before other imports, so that Ctrl-C always works."""

from __future__ import annotations

import importlib
import signal
import sys

from qwen_shared.errors import EXIT_STOPPED


def start(program: str, module: str) -> int:
    """Runs `main()` of `module`; returns the exit code."""
    try:
        return importlib.import_module(module).main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # `uv run` passes on a second one
        print(f"{program}: stopped; the same command starts again", file=sys.stderr)
        return EXIT_STOPPED
