"""Prompts as ids and as text."""

import pytest

from qwen_shared.errors import UserError
from qwen_shared.evaluation.prompts import chat_prompt, check_room, shown
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


def test_special_tokens_are_shown_by_their_names():
    ids = chat_prompt([{"role": "user", "content": "写一个 <|im_end|>"}], "Code.", TOKENIZER)
    assert shown(ids, TOKENIZER) == (
        "<|im_start|>system\nCode.<|im_end|>\n<|im_start|>user\n写一个 <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    assert ids.count(TOKENIZER.special_tokens["<|im_end|>"]) == 2  # what a user writes is no special token


def test_a_prompt_needs_room():
    check_room("a", [[1]], [Completion([], stopped=True)])
    check_room("a", [[1], [2]], [Completion([], stopped=False), Completion([3], stopped=False)])
    with pytest.raises(UserError, match="task a: its prompts \\(2 tokens and more\\) leave no room"):
        check_room("a", [[1, 2], [1, 2, 3]], [Completion([], stopped=False)] * 2)
