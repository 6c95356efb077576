"""The baseline to beat: answer with the solution of the most similar training task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import batched

import numpy as np

from code_qwen.problems.task import Task, normalise

_TERM = re.compile(r"\d+|[\u3400-\u9fff]|[^\W\d_]+|[^\w\s]")
_BATCH = 4096  # limits memory to some tens of MB


def nearest_training_solutions(asked: Sequence[Task], known: Sequence[Task]) -> list[str]:
    """For each task the solution of the first known task with the most similar prompt, its function renamed to
    `entry_point`.

    Similarity: TF-IDF cosine over words, numbers, signs and Chinese characters of the normalised prompt.
    """
    counts = [_terms(task.prompt) for task in known]
    found_in = Counter(term for count in counts for term in count)
    columns = {term: i for i, term in enumerate(found_in)}
    idf = np.log(1 + len(known) / np.array(list(found_in.values()), np.float32))
    questions = _unit_rows([_terms(task.prompt) for task in asked], columns, idf)
    best = np.full(len(asked), -1.0, np.float32)
    nearest = np.zeros(len(asked), np.int64)
    for start, batch in enumerate(batched(counts, _BATCH)):
        similarity = questions @ _unit_rows(batch, columns, idf).T
        here = similarity.argmax(axis=1)
        highest = similarity[np.arange(len(asked)), here]
        better = highest > best + 1e-6
        best[better] = highest[better]
        nearest[better] = here[better] + start * _BATCH
    return [
        known[int(i)].solution.replace(f"def {known[int(i)].entry_point}(", f"def {task.entry_point}(", 1)
        for task, i in zip(asked, nearest, strict=True)
    ]


def _unit_rows(counts: Sequence[Counter[str]], columns: dict[str, int], idf: np.ndarray) -> np.ndarray:
    """Unit length, float32 [texts, terms]; ignores terms without a column."""
    rows = np.zeros((len(counts), len(columns)), np.float32)
    for i, count in enumerate(counts):
        for term, times in count.items():
            if term in columns:
                rows[i, columns[term]] = times
    rows *= idf
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _terms(prompt: str) -> Counter[str]:
    return Counter(_TERM.findall(normalise(prompt)))
