"""What the verb `publish` is in every package. It needs no recipe: runs say all that there is to know."""

from __future__ import annotations

from qwen_shared.launch.verb import Tool
from qwen_shared.publish.options import options


def publish_tool(target: str = "qwen_shared.publish.command:main") -> Tool:
    return Tool("publish", "write a finished run's model for others: proved, described, and sent", target, options)
