"""n-grams of words and characters, counted by hand."""

from qwen_chat.evaluation.statistics import distinct, repeated, words


def test_words_are_words_or_single_chinese_characters():
    assert words("It's 42 GPUs,你好 world。") == ["it", "'", "s", "42", "gpus", ",", "你", "好", "world", "。"]


def test_distinct_counts_over_all_answers_together():
    answers = [["a", "b", "a"], ["a", "b"], []]
    assert distinct(answers, 1) == 2 / 5
    assert distinct(answers, 2) == 2 / 3  # ab, ba, ab
    assert distinct(answers, 4) == 0.0


def test_repeated_is_what_an_answer_has_said_before():
    assert repeated(["a", "b", "c", "d"], 2) == 0.0
    assert repeated(["a", "b", "a", "b", "a", "b"], 2) == 1 - 2 / 5
    assert repeated(["a"], 4) == 0.0
