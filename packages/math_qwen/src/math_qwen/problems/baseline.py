"""The baseline that a model must beat: the answer of the most similar training problem."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from math_qwen.problems.problem import Problem, normalise

_WORD = re.compile(r"\d+(?:\.\d+)?|[\u3400-\u9fff]|[^\W\d]+|[^\w\s]")


def nearest_training_answers(questions: Sequence[str], training_problems: Sequence[Problem]) -> list[str]:
    """For each question, the answer of the first training problem with the highest TF-IDF cosine similarity.

    Terms are the words, numbers, signs and Chinese characters of the normalised text.
    """
    postings: dict[str, list[int]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(list)
    for i, problem in enumerate(training_problems):
        for term, count in _terms(problem.question).items():
            postings[term].append(i)
            counts[term].append(count)
    total = len(training_problems)
    rows = {term: np.array(found, np.int32) for term, found in postings.items()}
    idf = {term: np.log(1 + total / len(found)) for term, found in postings.items()}
    weights = {term: np.array(counts[term], np.float32) * np.float32(idf[term]) for term in postings}
    squares = np.zeros(total, np.float32)
    for term, found in rows.items():
        squares[found] += weights[term] ** 2
    norms = np.sqrt(np.maximum(squares, 1e-12))
    answers = []
    for question in questions:
        scores = np.zeros(total, np.float32)
        for term, count in _terms(question).items():
            if term in rows:
                scores[rows[term]] += np.float32(count * idf[term]) * weights[term]
        answers.append(training_problems[int(np.argmax(scores / norms))].answer)
    return answers


def _terms(question: str) -> Counter[str]:
    return Counter(_WORD.findall(normalise(question)))
