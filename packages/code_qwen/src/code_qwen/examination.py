"""What `sft` asks the model it starts from and the one it makes: the same problems in the same words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from code_qwen import problems
from code_qwen.evaluation.command import answer_rows, table
from code_qwen.evaluation.run import evaluate, named_figures
from code_qwen.recipe import FUNCTIONS, CodeSftRecipe, training_tasks
from code_qwen.sandbox import Job, judge_many
from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.generation.decode import load_generator
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import Tracker, say
from qwen_shared.tracking.files import write_atomic


@dataclass(frozen=True)
class Examination:
    """Called with the directory of a model and "before" or "after"; every answer goes into the run's `evaluation/`."""

    recipe: CodeSftRecipe
    run_dir: Path

    def __call__(self, directory: Path, when: str, tracker: Tracker) -> dict[str, float]:
        """Figures as `named_figures` has them; after, those of before too, as `before/…`, and `nearest/…`."""
        output = self.run_dir / ("evaluation" if when == "after" else "evaluation-before")
        say(f"asking the model {when} training: {', '.join(self.recipe.tasks)}")
        settings = self.recipe.evaluation
        tokenizer = load_tokenizer(self.recipe.tokenizer)
        generate = load_generator(directory, tokenizer, settings.batch_size)
        system = self.recipe.data.system
        # The model before training is asked as the one after it, which has learned the chat form.
        style = "chat" if settings.prompt == "auto" else settings.prompt
        model = weights_hash(directory)
        results = evaluate(generate, tokenizer, self.recipe.tasks, settings, style, system, output, model)
        Console().print(table(results, f"{when} training"))
        figures = named_figures(results)
        for name, result in results.items():
            tracker.table(f"eval/{name}/answers_{when}", answer_rows(result))
        write_atomic(output / "evaluation.json", json.dumps(figures, indent=2) + "\n")
        if when == "after":
            figures |= self._before() | self._nearest()
        tracker.summary(figures)
        return figures

    def _nearest(self) -> dict[str, float]:
        """What answering with the solution of the nearest training task would get: how far recalling goes."""
        figures = {}
        if all(source.path == FUNCTIONS for source in self.recipe.data.sources):
            known = list(training_tasks(self.recipe))
            for name in [name for name in self.recipe.tasks if name in problems.HELD_OUT]:
                asked = problems.held_out(name)
                answers = problems.nearest_training_solutions(asked, known)
                jobs = [
                    Job("", answer, task.test, task.entry_point, self.recipe.evaluation.timeout)
                    for task, answer in zip(asked, answers, strict=True)
                ]
                judged = judge_many(jobs, self.recipe.evaluation.workers)
                figures[f"nearest/{name}/pass@1"] = sum(judgement.passed for judgement in judged) / len(judged)
        return figures

    def _before(self) -> dict[str, float]:
        path = self.run_dir / "evaluation-before" / "evaluation.json"
        if not path.is_file():
            return {}
        return {f"before/{name}": value for name, value in json.loads(path.read_text()).items()}
