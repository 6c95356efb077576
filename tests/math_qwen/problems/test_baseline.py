"""The nearest training problem's answer."""

import time

from math_qwen.problems import held_out, nearest_training_answers, training


def test_a_problem_of_the_training_set_finds_itself():
    known = list(training(0, 2000))
    asked = known[::100]
    assert nearest_training_answers([p.question for p in asked], known) == [p.answer for p in asked]
    assert nearest_training_answers([known[5].question.upper()], known) == [known[5].answer]


def test_one_word_off_is_nearer_than_another_text():
    known = list(training(0, 500))
    question = known[3].question + " Please."
    assert nearest_training_answers([question], known) == [known[3].answer]


def test_fast_enough_for_every_evaluation():
    known = list(training(0, 5000))
    start = time.process_time()
    found = nearest_training_answers([p.question for p in held_out("level1", 100)], known)
    assert len(found) == 100
    assert time.process_time() - start < 60
