"""`code-qwen evaluate`, which can refuse to run if this machine cannot isolate programs."""

from __future__ import annotations

import argparse
from typing import Any

from qwen_shared.cli import Invocation, evaluate_verb


def isolation_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--require-isolation", action="store_true", help="refuse to run programs if this machine cannot isolate them"
    )


def main(invocation: Invocation[Any]) -> None:
    require_isolation(invocation)
    evaluate_verb.main(invocation)


def require_isolation(invocation: Invocation[Any]) -> None:
    """Raises UserError if the flag is given and this machine cannot isolate programs."""
    if invocation.options.require_isolation and invocation.recipe.tasks:
        from code_qwen import sandbox

        sandbox.require_isolation()
