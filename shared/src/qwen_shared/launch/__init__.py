"""How a command becomes one process or many."""

from qwen_shared.launch.command import run
from qwen_shared.launch.publish_verb import publish_tool
from qwen_shared.launch.report_verb import REPORT
from qwen_shared.launch.verb import Invocation, Tool, Verb

__all__ = ["REPORT", "Invocation", "Tool", "Verb", "publish_tool", "run"]
