"""What the verb `publish` is in every package. It needs no recipe: runs say all that there is to know."""

from __future__ import annotations

import argparse

from qwen_shared.launch.command import Tool


def publish_tool(target: str = "qwen_shared.publish.command:main") -> Tool:
    return Tool("publish", "write a finished run's model for others: proved, described, and sent", target, _options)


def _options(parser: argparse.ArgumentParser) -> None:
    from qwen_shared.publish.command import options

    options(parser)
