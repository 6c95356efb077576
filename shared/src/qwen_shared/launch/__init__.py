"""How a command becomes one process or many."""

from qwen_shared.launch.command import Invocation, Tool, Verb, run
from qwen_shared.launch.publish_verb import publish_tool
from qwen_shared.launch.report_verb import REPORT

__all__ = ["REPORT", "Invocation", "Tool", "Verb", "publish_tool", "run"]
