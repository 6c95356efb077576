"""The page: one file with its style inside, and nothing that could run.

Every text on it comes from elsewhere, samples from a model. The template engine escapes all of it, no attribute but a
link's and the charts' own numbers is made of data, and the page's policy forbids scripts, requests and other styles.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from qwen_shared.report import facts, samples
from qwen_shared.report.charts import charts
from qwen_shared.report.record import Record
from qwen_shared.terminal import escape_control_characters


def render(record: Record) -> str:
    """The whole of report.html."""
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
        tiles=facts.tiles(record),
        sections=charts(record.metrics),
        rows=facts.rows(record),
        results=facts.all_results(record),
        training_samples=samples.during_training(record),
        answers=samples.of_evaluation(record),
        chain=facts.chain(record),
        data=facts.data(record),
        environment=facts.environment(record),
        recipe=record.recipe,
    )


def _visible(value: Any) -> Any:
    """Control characters, and those that turn the direction of writing, as what a reader sees."""
    return escape_control_characters(value) if type(value) is str else value
