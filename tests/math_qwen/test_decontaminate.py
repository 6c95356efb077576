"""13-grams shared with evaluation problems."""

import random
import time

from math_qwen.decontaminate import EvaluationNgrams, matches, words

TEXT = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."


def test_words():
    assert words("Don't STOP: 1,000 apples—now!") == ["dont", "stop", "1", "000", "apples", "now"]
    assert words("小明有3个苹果。") == ["小", "明", "有", "3", "个", "苹", "果"]


def test_a_shared_13_gram_is_found_whatever_case_and_punctuation():
    inside = "He knew: NATALIA sold clips to 48 of her friends in April and then she... Yes."
    found = matches([("t1", inside), ("t2", "Weng earns 12 an hour.")], [("e1", TEXT)])
    assert [(m.training_id, m.evaluation_id, m.ngram) for m in found] == [
        ("t1", "e1", "natalia sold clips to 48 of her friends in april and then she"[: len(found[0].ngram)])
    ]
    assert len(found[0].ngram.split()) == 13


def test_twelve_words_are_not_enough():
    twelve = " ".join(words(TEXT)[:12])
    assert not matches([("t", f"{twelve} cats")], [("e", TEXT)])
    assert matches([("t", f"{twelve} {words(TEXT)[12]}")], [("e", TEXT)])


def test_short_problems_match_as_a_whole():
    short = "How many legs do three dogs and two birds have"  # ten words
    assert matches([("t", f"Tell me. {short}? Twelve and four.")], [("e", short)])
    assert not matches([("t", "How many legs do three dogs and two cats have")], [("e", short)])
    assert matches([("t", "What is 2 + 3?")], [("e", "what is 2 + 3")])
    assert not matches([("t", "What is 2 + 3 and how much more is seven?")], [("e", "What is 2 + 3?")])


def test_chinese_characters_are_words():
    problem = "小明有十二个苹果，又买了五个，现在一共有几个？"
    assert matches([("t", "请问：" + problem)], [("e", problem)])


def test_the_solution_counts_too():
    evaluation = EvaluationNgrams()
    evaluation.add("e", TEXT)
    assert evaluation.match("t", "A question?", f"Solution: {TEXT}").evaluation_id == "e"
    assert evaluation.match("t", "A question?", "A solution.") is None
    assert len(evaluation) == 1


def test_agrees_with_a_comparison_of_sets():
    rng = random.Random(0)
    texts = [" ".join(rng.choice("ab") for _ in range(rng.randint(13, 40))) for _ in range(60)]
    training, evaluation = texts[:30], texts[30:]
    known = {tuple(t.split()[i : i + 13]) for t in evaluation for i in range(len(t.split()) - 12)}
    expected = {
        str(n) for n, t in enumerate(training)
        if any(tuple(t.split()[i : i + 13]) in known for i in range(len(t.split()) - 12))
    }  # fmt: skip
    found = matches([(str(n), t) for n, t in enumerate(training)], [(str(n), t) for n, t in enumerate(evaluation)])
    assert {m.training_id for m in found} == expected


def test_linear_in_a_long_text():
    evaluation = EvaluationNgrams()
    evaluation.add("e", TEXT)
    start = time.process_time()
    assert evaluation.match("t", "word " * 100_000) is None
    assert time.process_time() - start < 30
