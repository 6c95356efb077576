"""The verbs `report` and `publish`, the same for every command."""

from __future__ import annotations

import argparse

from qwen_shared.cli.verb import Tool


def _report_options(parser: argparse.ArgumentParser) -> None:
    from qwen_shared.report.command import options

    options(parser)


REPORT = Tool(
    "report",
    "write a run's report.html: curves, samples, evaluation and lineage on one page",
    "qwen_shared.report.command:main",
    _report_options,
)


def _publish_options(parser: argparse.ArgumentParser) -> None:
    from qwen_shared.publish.command import options

    options(parser)


PUBLISH = Tool(
    "publish",
    "write a finished run's model for others: proved, described, and sent",
    "qwen_shared.publish.command:main",
    _publish_options,
)
