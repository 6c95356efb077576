"""The prompt style if `evaluation.prompt` is `auto`. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from qwen_shared.evaluation.task import Style
from qwen_shared.run.manifest import RECIPE, is_chat_run


def style_of(prompt: Literal["auto", "chat", "base"], directory: Path, run_dir: Path | None) -> Style:
    r"""`auto`: plain text for pretrained models and models without a chat template, else the template.

    `run_dir`: the run that made the model in `directory`, if any.
    """
    if prompt != "auto":
        return prompt
    if run_dir and (run_dir / RECIPE).is_file():
        return "chat" if is_chat_run(run_dir) else "base"
    return "chat" if _has_template(directory) else "base"


def _has_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False
