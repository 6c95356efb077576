"""The verb `report`, the same for every command."""

from __future__ import annotations

import argparse

from qwen_shared.launch.verb import Tool


def _options(parser: argparse.ArgumentParser) -> None:
    from qwen_shared.report.command import options

    options(parser)


REPORT = Tool(
    "report",
    "write a run's report.html: curves, samples, evaluation and lineage on one page",
    "qwen_shared.report.command:main",
    _options,
)
