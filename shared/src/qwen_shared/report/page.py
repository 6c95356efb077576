"""The page: one file with its style inside and no scripts.

Its texts are not trusted; samples come from a model. Jinja escapes all of them, data reaches no attribute except a
link's address and the charts' numbers, and the page's policy forbids scripts, requests and other styles.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from qwen_shared.report import samples, summary
from qwen_shared.report.charts import charts
from qwen_shared.report.record import Record
from qwen_shared.text import escape_control_characters


def render(record: Record) -> str:
    here = files("qwen_shared.report")
    style = (here / "style.css").read_text(encoding="utf-8")
    template = (here / "page.html.jinja").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    manifest = record.manifest
    return environment.from_string(template).render(
        manifest=manifest,
        directory=str(record.directory),
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        wandb_url=manifest.wandb_url if (manifest.wandb_url or "").startswith("https://") else None,
        tiles=summary.tiles(record),
        sections=charts(record.metrics),
        rows=summary.rows(record),
        results=summary.all_results(record),
        training_samples=samples.during_training(record),
        answers=samples.of_evaluation(record),
        chain=summary.chain(record),
        data=summary.data(record),
        environment=summary.environment(record),
        recipe=record.recipe,
    )


def _visible(value: Any) -> Any:
    """Control characters, and those that change the direction of writing, made visible."""
    return escape_control_characters(value) if type(value) is str else value
