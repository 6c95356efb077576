"""The run directory: recipe, manifest, lock, metrics, checkpoints and their hashes, lineage. No torch."""

from qwen_shared.run.manifest import Manifest, Parent, inspect_run, open_run
from qwen_shared.run.metrics_file import read_metrics

__all__ = ["Manifest", "Parent", "inspect_run", "open_run", "read_metrics"]
