"""What a fine-tuning asks the model it starts from and the one it makes: the same problems in the same words."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType

from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.files import write_atomic
from qwen_shared.generation.decode import load_generator
from qwen_shared.log import say
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import Tracker

if TYPE_CHECKING:
    from qwen_shared.evaluation.prompts import Style
    from qwen_shared.generation.sampling import Generate
    from qwen_shared.recipe import SftRecipe
    from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True)
class Examination(ABC):
    """Called with the directory of a model and "before" or "after"; every answer goes into the run's `evaluation/`.

    A package says how it asks and counts. Its recipe has `tasks`, and in `evaluation` what `settings.Evaluation` has.
    """

    recipe: SftRecipe
    run_dir: Path

    @abstractmethod
    def ask(self, generate: Generate, tokenizer: Tokenizer, style: Style, output: Path, weights: str) -> dict[str, Any]:
        """Results by task; every answer is written into `output`. `weights` is a hash of the model's."""

    @abstractmethod
    def named_figures(self, results: dict[str, Any]) -> dict[str, float]: ...

    @abstractmethod
    def table(self, results: dict[str, Any], title: str) -> RenderableType: ...

    @abstractmethod
    def answer_rows(self, result: Any) -> list[dict[str, Any]]: ...

    @abstractmethod
    def nearest(self) -> dict[str, float]:
        """What answering as the nearest training problem does would get: how far recalling goes."""

    def __call__(self, directory: Path, when: str, tracker: Tracker) -> dict[str, float]:
        """Figures by name; after, those of before too, as `before/…`, and `nearest/…`."""
        output = self.run_dir / ("evaluation" if when == "after" else "evaluation-before")
        say(f"asking the model {when} training: {', '.join(self.recipe.tasks)}")
        settings = self.recipe.evaluation
        tokenizer = load_tokenizer(self.recipe.tokenizer)
        generate = load_generator(directory, tokenizer, settings.batch_size)
        # The model before training is asked as the one after it, which has learned the chat form.
        style = "chat" if settings.prompt == "auto" else settings.prompt
        results = self.ask(generate, tokenizer, style, output, weights_hash(directory))
        Console().print(self.table(results, f"{when} training"))
        figures = self.named_figures(results)
        for name, result in results.items():
            tracker.table(f"eval/{name}/answers_{when}", self.answer_rows(result))
        write_atomic(output / "evaluation.json", json.dumps(figures, indent=2) + "\n")
        if when == "after":
            figures |= self._before() | self.nearest()
        tracker.summary(figures)
        return figures

    def _before(self) -> dict[str, float]:
        path = self.run_dir / "evaluation-before" / "evaluation.json"
        if not path.is_file():
            return {}
        return {f"before/{name}": value for name, value in json.loads(path.read_text()).items()}
