"""Asks a model the same tasks before and after its fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from qwen_shared.evaluation.find import find_tasks
from qwen_shared.evaluation.model import AskedModel
from qwen_shared.evaluation.results import answer_rows, read_results, report_of, results_table, write_report
from qwen_shared.evaluation.run import evaluate, named_metrics
from qwen_shared.evaluation.task import Conditions, Metrics
from qwen_shared.log import say
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import NoTracker, Tracker

BEFORE, AFTER = "evaluation-before", "evaluation"  # folders of the run


@dataclass(frozen=True)
class BeforeAfter:
    """Called with a model's directory and "before" or "after"."""

    recipe: Any  # with `tasks`, `evaluation`, `data`, `tokenizer`
    run_dir: Path
    # `nearest/<task>/<metric>`: the score of repeating the nearest training problem's answer.
    nearest: Callable[[Any], Metrics] | None = None

    def __call__(self, directory: Path, when: str, tracker: Tracker | NoTracker) -> Metrics:
        """Metrics by name; "after" adds those of before training (`before/…`) and `nearest/…`."""
        output, recipe = self.run_dir / (AFTER if when == "after" else BEFORE), self.recipe
        say(f"asking the model {when} training: {', '.join(recipe.tasks)}")
        # Before and after use the prompt form that training teaches.
        conditions = Conditions.of(recipe, "chat" if recipe.evaluation.prompt == "auto" else recipe.evaluation.prompt)
        model = AskedModel(directory, load_tokenizer(recipe.tokenizer), recipe.evaluation.batch_size)
        results = evaluate(find_tasks(recipe.tasks, recipe.evaluation), model, conditions, output)
        Console().print(results_table(results, f"{when} training"))
        metrics = named_metrics(results)
        for name, result in results.items():
            tracker.table(f"eval/{name}/answers_{when}", answer_rows(result))
        write_report(output, report_of(str(directory), results, metrics, **conditions.as_dict(model.weights)))
        if when == "after":
            metrics |= {f"before/{name}": value for name, value in read_results(self.run_dir / BEFORE).items()}
            metrics |= self.nearest(recipe) if self.nearest else {}
        tracker.summary(metrics)
        return metrics
