"""Generated tasks: small functions to write, in English and Chinese, with solutions that passed their tests.

Reading order: `task`, `family`, one file of families (`numbers`), `generator`; `compositions` are held out, `baseline`
is what a model must beat. The generated text decides training data: a test fixes its digest.
"""

from code_qwen.problems.baseline import nearest_training_solutions
from code_qwen.problems.compositions import COMPOSITIONS
from code_qwen.problems.family import Family
from code_qwen.problems.generator import FAMILIES, FORMS, HELD_OUT, LANGUAGES, held_out, is_held_out, training
from code_qwen.problems.task import Task, messages, normalise

__all__ = [
    "COMPOSITIONS",
    "FAMILIES",
    "FORMS",
    "HELD_OUT",
    "LANGUAGES",
    "Family",
    "Task",
    "held_out",
    "is_held_out",
    "messages",
    "nearest_training_solutions",
    "normalise",
    "training",
]
