"""Embedded problems, made from a seed: word problems and algebra with solutions that sympy has checked."""

from math_qwen.problems.baseline import nearest_training_answers
from math_qwen.problems.generator import HELD_OUT, MIX, held_out, is_held_out, is_reserved, training
from math_qwen.problems.problem import Problem, messages, normalise

__all__ = [
    "HELD_OUT",
    "MIX",
    "Problem",
    "held_out",
    "is_held_out",
    "is_reserved",
    "messages",
    "nearest_training_answers",
    "normalise",
    "training",
]
