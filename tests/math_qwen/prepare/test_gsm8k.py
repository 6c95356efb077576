"""Solutions kept, repaired or rejected, with reasons."""

import time

import pytest

from math_qwen.equations import check, equations
from math_qwen.prepare.boxed import last_box
from math_qwen.prepare.forms import sample_of
from math_qwen.prepare.gsm8k import check_solution

CLIPS = "In May she sold 48/2 = <<48/2=24>>24 clips.\nTogether 48+24 = <<48+24=72>>72 clips.\n#### 72"


@pytest.mark.parametrize(
    ("solution", "support"),
    [
        (CLIPS, "the last equation"),
        ("<<30/60*100=50>>50%\n#### 50", "the last equation"),
        ("So $<<0.50-0.25=0.25>>0.25 or 25 cents.\n#### 25", "the last equation"),
        ("It takes <<768/50=15.36>>15.36 minutes, which rounds down to 15.\n#### 15", "the last equation, rounded"),
        ("<<3*4=12>>12\nDividing both sides by 2, we get x = 6.\n#### 6", "the last line's words"),
        ("<<10/3=3.33>>3.33 each\nThree full boxes.\n<<3*2=6>>6\n#### 6", "the last equation"),
        ("He has <<2*3=6>>6.\nSo the other one wins.\n#### 6", "the last equation"),
    ],
)
def test_kept_as_it_is(solution, support):
    found = check_solution(solution)
    assert (found.status, found.reasons, found.solution, found.support) == ("kept", [], solution, support)
    assert found.equations == len(equations(solution))


@pytest.mark.parametrize(
    ("solution", "repaired", "kind"),
    [
        ("<<5*4=21>>20\n#### 20", "<<5*4=20>>20\n#### 20", "wrong right side"),
        ("5*4 = <<5*4=20 apples>>20\n#### 20", "5*4 = <<5*4=20>>20\n#### 20", "units in an equation"),
        ("<<560//10=56>>56\n#### 56", "<<560/10=56>>56\n#### 56", "// for /"),
        ("<<5*4=>>20\n#### 20", "<<5*4=20>>20\n#### 20", "equation without a right side"),
        ("<<5*4>>20\n#### 20", "<<5*4=20>>20\n#### 20", "equation without a right side"),
        ("5 * 4 = <<calc!>>20\n#### 20", "5 * 4 = <<5*4=20>>20\n#### 20", "equation rebuilt from the text"),
        ("<5*4=20>20\n#### 20", "<<5*4=20>>20\n#### 20", "broken mark"),
        ("<<1,000+1=1,001>>1,001\n#### 1001", "<<1000+1=1001>>1,001\n#### 1001", "comma in an equation"),
        ("It is 5*4 = $20.\n#### 20", "It is 5*4 = $<<5*4=20>>20.\n#### 20", "missing annotation"),
        (
            "2 hours x 30 miles = 60 miles\n#### 60",
            "2 hours x 30 miles = <<2*30=60>>60 miles\n#### 60",
            "missing annotation",
        ),
        ("Alone 14*20=140\n#### 280", "Alone 14*20=<<14*20=280>>280\n#### 280", "wrong number in the text"),
        ("<<40*27=1080>>1080\n#### 1,080", "<<40*27=1080>>1080\n#### 1080", "comma or currency in the answer"),
        ("<<5*4=20>>20\n#### 20 apples", "<<5*4=20>>20\n#### 20", "unit in the answer"),
        ("<<5*4=20>>20\nThe answer is 20.", "<<5*4=20>>20\nThe answer is 20.\n#### 20", "answer line added"),
    ],
)
def test_repaired(solution, repaired, kind):
    found = check_solution(solution)
    assert (found.status, found.solution) == ("repaired", repaired)
    assert kind in [reason.partition(":")[0] for reason in found.reasons]
    assert all(check(equation).ok for equation in equations(found.solution))
    assert check_solution(found.solution).status == "kept", "a repaired solution needs no further repair"


@pytest.mark.parametrize(
    ("solution", "kind"),
    [
        ("", "empty solution"),
        ("<<5*4=20>>20", "no final answer"),
        ("<<5*4=20>>20\n####", "no final answer"),
        ("<<5*4=20>>20\n#### yes", "answer is no number"),
        ("#### 20", "no worked steps"),
        ("<<5*4=21>>21\n#### 21", "false equation"),
        ("<<10/3=3>>3\n#### 3", "false equation"),
        ("<<x+5=20>>20\n#### 20", "equation that cannot be read"),
        ("<<5*4=20>>21\n#### 20", "text and equation differ"),
        ("<<5*4=20>>20\n#### 21", "answer does not follow"),
        ("<<5*4=20>>20\nSo he saves <<400-100=300>>300 with the $60 one.\n#### 100", "answer does not follow"),
        ("<<4*4=16>>16\n13 red + 4 blue + 16 green = 45 in all\n#### 33", "answer does not follow"),
        ("So 2*8 = 24 hours.\n<<24+14=38>>38\n#### 38", "false equation in the text"),
        ("<<5*4=20>20\n#### 20 >>", "answer is no number"),
        ("5*4=20>>20\n#### 20", "broken mark"),
    ],
)
def test_rejected(solution, kind):
    found = check_solution(solution)
    assert found.status == "rejected"
    assert [reason.partition(":")[0] for reason in found.reasons] == [kind]


def test_the_gold_answer_decides():
    assert check_solution(CLIPS, gold="72").status == "kept"
    assert check_solution(CLIPS, gold="#### 72.0").status == "kept"
    found = check_solution(CLIPS, gold="73")
    assert (found.status, found.reasons) == ("rejected", ["answer contradicts the gold answer: 72, not 73"])


def test_thousands_set_apart_by_spaces_stay_what_they_are():
    once = check_solution("In a month he uses 600 x 30 = 18 000 watts.\n#### 18000")
    assert "<<600*30=18000>>18 000 watts" in once.solution
    twice = check_solution(once.solution)
    assert (twice.status, twice.solution) == ("kept", once.solution)


@pytest.mark.parametrize(
    "piece", ["1 + ", "(", "1 a ", "2 = ", "<<", "1,", "#### ", "and 1/2 ", "\\boxed{", "=<<1=1>>"]
)
@pytest.mark.heavy
def test_hostile_text_takes_time_in_proportion(piece):
    start = time.process_time()
    check_solution(piece * 20_000 + "\n#### 1")
    sample_of({"question": "q", "answer": piece * 1000}, "here", "s", "1")
    last_box(piece * 20_000)
    assert time.process_time() - start < 60  # quadratic time would be minutes
