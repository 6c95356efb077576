"""The verb `report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwen_shared.errors import EXIT_FINISHED, UserError
from qwen_shared.log import say
from qwen_shared.report import write_report


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, finished or not, of any command")


def main(args: argparse.Namespace) -> int:
    """Raises UserError if there is no run, or if it cannot be written to."""
    try:
        say(f"report {write_report(args.run)}")
    except OSError as error:
        raise UserError(f"{error.filename or args.run}: cannot be written: {error.strerror}") from None
    return EXIT_FINISHED
