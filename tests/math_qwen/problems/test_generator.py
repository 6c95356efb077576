"""The embedded problems: true, apart from the held-out ones, and equal on every machine."""

import hashlib
import re
from collections import Counter
from itertools import pairwise

import pytest

from math_qwen.equations import check, equations
from math_qwen.problems import HELD_OUT, held_out, is_held_out, is_reserved, messages, normalise, training
from math_qwen.problems.steps import result, solution, steps
from qwen_shared.errors import UserError

COUNT = 10_000


@pytest.fixture(scope="module")
def problems():
    return list(training(0, COUNT))


@pytest.fixture(scope="module")
def apart():
    return {name: held_out(name) for name in HELD_OUT}


def pairs(problem):
    return {(sign, *sorted((a, b))) if sign in "+*" else (sign, a, b) for sign, a, b in problem.operations}


def test_every_equation_is_true_and_leads_to_the_answer(problems, apart):
    for problem in [*problems, *(p for of in apart.values() for p in of)]:
        found = equations(problem.solution)
        assert found
        assert all(check(equation).reason == "exact" for equation in found)
        sign, a, b = problem.operations[-1]
        assert check(f"{a}{sign}{b}={problem.answer}").reason == "exact"
        assert found[-1].rpartition("=")[2] == problem.answer
        assert problem.solution.splitlines()[-1] == f"#### {problem.answer}"
        for first, then in pairwise(problem.operations):
            assert str(result(*first)) in map(str, then[1:])


def test_every_step_of_every_pair_is_true():
    for sign, largest in (("+", 99), ("-", 99), ("*", 99), ("/", 99)):
        for a in range(1, largest + 1):
            for b in range(1, largest + 1):
                if (sign == "-" and b > a) or (sign == "/" and a % b):
                    continue
                assert steps(sign, a, b)[-1].endswith(f"={result(sign, a, b)}")


def test_annotations_stand_before_their_values(problems):
    for problem in problems[:2000]:
        for equation, shown in re.findall(r"<<([^<>]*)>>(\S*)", problem.solution):
            assert equation.rpartition("=")[2] == shown


def test_no_text_is_in_training_and_held_out(problems, apart):
    texts = {normalise(p.question) for p in problems}
    assert len(texts) == COUNT, "training problems are distinct"
    for name, of in apart.items():
        asked = {normalise(p.question) for p in of}
        assert len(asked) == len(of) == 400, name
        assert not asked & texts
        assert all(is_held_out(p.question) for p in of)
    for seed in (1, 2):
        assert not any(is_held_out(p.question) for p in training(seed, 3000))


def test_reserved_pairs_are_in_no_training_problem(problems, apart):
    trained = {pair for p in problems for pair in pairs(p)}
    unseen = {pair for p in apart["level1_unseen_pairs"] for pair in pairs(p)}
    assert {pair[0] for pair in unseen} == set("+-*/")
    assert not trained & unseen
    assert not any(is_reserved(*pair) for pair in trained)
    assert all(is_reserved(*pair) for pair in unseen)
    # The same from the solutions: a line without marks is the operation.
    for problem in problems:
        for line in problem.solution.splitlines():
            if stated := re.fullmatch(r"(\d+)([-+*/])(\d+)", line):
                a, sign, b = int(stated[1]), stated[2], int(stated[3])
                assert (sign, *(sorted((a, b)) if sign in "+*" else (a, b))) not in unseen


def test_held_out_level_1_asks_pairs_that_training_has(problems, apart):
    trained = {pair for p in problems for pair in pairs(p)}
    asked = [pair for p in apart["level1"] for pair in pairs(p)]
    assert sum(pair in trained for pair in asked) >= 0.98 * len(asked)


def test_levels_are_what_they_say(problems, apart):
    by_level = {level: [p for p in problems if p.level == level] for level in (1, 2, 3)}
    for name, level in (("level1", 1), ("level1_unseen_pairs", 1), ("level2", 2), ("level3", 3)):
        assert {p.level for p in apart[name]} == {level}
        by_level[level] += apart[name]
    assert all(max(p.operands) <= 20 and len(p.operations) == 1 for p in by_level[1])
    assert all(20 < max(p.operands) < 100 and len(p.operations) == 1 for p in by_level[2])
    assert all(len(p.operations) == 2 for p in by_level[3])
    for level, least in ((1, 8), (2, 8), (3, 8)):
        families = Counter(p.family for p in by_level[level])
        assert len(families) >= least
        assert {(p.family, p.language) for p in by_level[level]} == {(f, g) for f in families for g in ("en", "zh")}


def test_the_same_everywhere():
    """A new digest means that earlier results no longer compare."""
    text = "".join(f"{p.id}{p.question}{p.solution}" for p in training(7, 500))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGEST
    assert list(training(7, 100)) == list(training(7, 500))[:100]
    assert list(training(8, 100)) != list(training(7, 100))


DIGEST = "e859f251a111afd6"


def test_mix_and_languages_are_obeyed():
    assert {p.level for p in training(0, 300, {2: 1.0})} == {2}
    assert {p.language for p in training(0, 300, languages=("zh",))} == {"zh"}
    shares = Counter(p.level for p in training(0, 4000, {1: 0.5, 3: 0.5}))
    assert abs(shares[1] / 4000 - 0.5) < 0.05


def test_too_many_problems_and_unknown_sets_are_the_users_mistakes():
    with pytest.raises(UserError, match="level1_unseen_pairs"):
        held_out("level9")


@pytest.mark.parametrize(
    ("sign", "a", "b", "expected"),
    [
        ("+", 5, 3, ["5+3=8"]),
        ("+", 17, 8, ["7+8=15", "15+10=25"]),
        ("+", 47, 38, ["7+8=15", "15+40+30=85"]),
        ("-", 15, 8, ["15-8=7"]),
        ("-", 85, 38, ["15-8=7", "70-30+7=47"]),
        ("*", 17, 8, ["7*8=56", "10*8=80", "80+56=136"]),
        ("*", 8, 17, ["8*7=56", "8*10=80", "80+56=136"]),
        ("/", 20, 4, ["4*5=20", "20/4=5"]),
        ("/", 96, 4, ["4*20=80", "96-80=16", "4*4=16", "20+4=24"]),
    ],
)
def test_steps(sign, a, b, expected):
    assert list(steps(sign, a, b)) == expected


def test_a_solution_states_and_works_out_each_operation():
    assert solution([("+", 12, 5), ("-", 17, 8)]) == ("12+5\n<<2+5=7>>7\n<<7+10=17>>17\n17-8\n<<17-8=9>>9\n#### 9")


def test_messages(problems):
    problem = problems[0]
    assert messages(problem) == [
        {"role": "user", "content": problem.question},
        {"role": "assistant", "content": problem.solution},
    ]


def test_normalise():
    assert normalise("  Tom has 7 Apples, and 3.5!  ") == "tom has 7 apples and 3.5"
    assert normalise("7 × 8 ＝ ？") == normalise("7 * 8 = ?")
    assert normalise("x + 3 = 5") != normalise("x - 3 = 5")
