"""Embedded dialogues in English and Chinese: short, checkable, each answered in one of two styles."""

from qwen_chat.dialogues.dialogue import Dialogue, Target, columns, messages, normalise, prompt, target_of
from qwen_chat.dialogues.family import Family
from qwen_chat.dialogues.generator import FAMILIES, HELD_OUT, KINDS, held_out, is_held_out, prompts, training
from qwen_chat.dialogues.pairs import REASONS, Pair, held_out_pairs, pairs
from qwen_chat.dialogues.score import BROKEN, WRONG, preference_score, right
from qwen_chat.dialogues.style import Style, read_style
from qwen_chat.dialogues.tables import LANGUAGES

__all__ = [
    "BROKEN",
    "FAMILIES",
    "HELD_OUT",
    "KINDS",
    "LANGUAGES",
    "REASONS",
    "WRONG",
    "Dialogue",
    "Family",
    "Pair",
    "Style",
    "Target",
    "columns",
    "held_out",
    "held_out_pairs",
    "is_held_out",
    "messages",
    "normalise",
    "pairs",
    "preference_score",
    "prompt",
    "prompts",
    "read_style",
    "right",
    "target_of",
    "training",
]
