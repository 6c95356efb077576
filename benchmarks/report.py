"""What every benchmark needs: its recipe, the machine's name, and a place for its figures."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from qwen_shared.recipe import PretrainRecipe, load_recipe

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RECIPES = ROOT / "packages" / "base" / "recipes"


def base_recipe(config: str, overrides: list[str]) -> PretrainRecipe:
    """The base package's recipe of this name, or a YAML file. Raises UserError."""
    return load_recipe(PretrainRecipe, config, overrides, RECIPES)


def machine(threads: int | None = None) -> dict[str, Any]:
    """Processor, cores and versions, without importing torch."""
    packages = ("torch", "transformers", "megatron-core")
    versions = {name: importlib.metadata.version(name) for name in packages if _is_installed(name)}
    about = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), **versions}
    return about | ({"threads": threads} if threads else {})


def cpu_name() -> str:
    """The processor's model name and, where the name says little, its family and model numbers."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in first.splitlines() if ":" in line)
    numbers = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    return f"{fields.get('model name', platform.machine()).strip()} ({numbers})"


def save(figures: dict[str, Any], name: str, machine_name: str, out: Path | None = None) -> Path:
    """Write figures as JSON: to `out`, or into results/ under date, machine and name. Whole or not at all."""
    slug = re.sub(r"[^a-z0-9]+", "-", machine_name.lower()).strip("-")
    path = out or RESULTS / f"{datetime.date.today()}-{slug}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"date": str(datetime.date.today()), **figures}, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
