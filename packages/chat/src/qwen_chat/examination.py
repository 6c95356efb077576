"""What `sft` asks the model it starts from and the one it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qwen_chat.evaluation import run, tables
from qwen_chat.recipe import ChatSftRecipe
from qwen_shared.evaluation import examination


class Examination(examination.Examination):
    recipe: ChatSftRecipe

    def ask(self, generate, tokenizer, style, output: Path, weights: str) -> dict[str, run.Result]:
        recipe = self.recipe
        return run.evaluate(generate, tokenizer, recipe.tasks, recipe.evaluation, recipe.data.system, output)

    def named_figures(self, results: dict[str, run.Result]) -> dict[str, float]:
        return run.named_figures(results)

    def table(self, results: dict[str, run.Result], title: str) -> Any:
        return tables.table(results, title)

    def answer_rows(self, result: run.Result) -> list[dict[str, Any]]:
        return tables.answer_rows(result)

    def nearest(self) -> dict[str, float]:
        return {}  # answers come in two styles: recalling one says nothing
