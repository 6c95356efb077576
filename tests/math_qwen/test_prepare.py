"""Worked solutions kept, repaired or rejected, each with its reason; and the command around it."""

import argparse
import gzip
import json
import time

import pytest

from math_qwen.equations import check, equations
from math_qwen.prepare import main, options
from math_qwen.prepare.boxed import last_box
from math_qwen.prepare.examine import examine
from math_qwen.prepare.forms import sample_of
from math_qwen.prepare.plain import plain_equations
from math_qwen.prepare.samples import prepare
from qwen_shared.errors import UserError

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
    found = examine(solution)
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
    found = examine(solution)
    assert (found.status, found.solution) == ("repaired", repaired)
    assert kind in [reason.partition(":")[0] for reason in found.reasons]
    assert all(check(equation).ok for equation in equations(found.solution))
    assert examine(found.solution).status == "kept", "a repaired solution needs no further repair"


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
    found = examine(solution)
    assert found.status == "rejected"
    assert [reason.partition(":")[0] for reason in found.reasons] == [kind]


def test_the_gold_answer_decides():
    assert examine(CLIPS, gold="72").status == "kept"
    assert examine(CLIPS, gold="#### 72.0").status == "kept"
    found = examine(CLIPS, gold="73")
    assert (found.status, found.reasons) == ("rejected", ["answer contradicts the gold answer: 72, not 73"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("48/2 = 24 and 3 + 4 = 7.", ["48/2 = 24", "3 + 4 = 7"]),
        ("8 square feet / 50 square feet * 100% = 16%", ["8 square feet / 50 square feet * 100% = 16%"]),
        ("2 miles / 1/6 hour = 12 miles", ["2 miles / 1/6 hour = 12"]),
        ("$1 / 2 = 50 cents", ["$1 / 2 = 50"]),
        ("13 / 6 = 2 with a remainder of 1", ["13 / 6 = 2"]),
        ("17/3 = 5 and 2/3 loads", ["17/3 = 5 and 2/3"]),
        ("250 x 12 = 3 000 grams", ["250 x 12 = 3 000"]),
        ("8+2(40)=88 apples", ["8+2(40)=88"]),
    ],
)
def test_plain_equations_are_found(text, expected):
    found = plain_equations(text)
    assert [text[p.start : p.end] for p in found] == expected
    assert all(p.check.ok for p in found)


@pytest.mark.parametrize(
    "text",
    ["3x + 5 = 20", "y = 12 + x", "x/2 + 5 = 10", "7 + x = 2 * x", "15 > 14", "a 5-4 score", "4:00 + 3 = 7:00", "= 5"],
)
def test_what_holds_a_letter_is_no_plain_equation(text):
    assert plain_equations(text) == []


@pytest.mark.parametrize(
    "piece", ["1 + ", "(", "1 a ", "2 = ", "<<", "1,", "#### ", "and 1/2 ", "\\boxed{", "=<<1=1>>"]
)
def test_hostile_text_takes_time_in_proportion(piece):
    start = time.perf_counter()
    examine(piece * 20_000 + "\n#### 1")
    sample_of({"question": "q", "answer": piece * 1000}, "here", "s", "1")
    last_box(piece * 20_000)
    assert time.perf_counter() - start < 60  # what is quadratic takes minutes


def test_last_box():
    assert last_box(r"so \boxed{1} then \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert last_box(r"\boxed 5") == "5"
    assert last_box(r"\boxed{\{1,2\}}") == r"\{1,2\}"
    assert last_box(r"\boxed{1") is None
    assert last_box("no box") is None


def sample(question="What is 5*4?", solution="<<5*4=20>>20\n#### 20", **columns):
    return sample_of({"question": question, "answer": solution, **columns}, "x.jsonl line 1", "x.jsonl", "x-1")


def test_copies_long_and_empty_ones_are_rejected():
    found = prepare(
        [sample(), sample("what is 5*4"), sample(" "), sample("Long?", "a" * 5000), sample("Other?")],
        max_characters=4000,
    )
    assert [e.reasons[0].partition(":")[0] if e.reasons else e.status for _, e in found.samples] == [
        "kept", "duplicate question", "empty question", "too long", "kept",
    ]  # fmt: skip
    assert found.counts() == {"kept": 2, "repaired": 0, "rejected": 3}


def test_forms():
    of = [
        sample_of({"problem": "p", "solution": r"\boxed{1}", "level": "Level 5"}, "w", "s", "1"),
        sample_of(
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "w", "s", "2"
        ),
        sample_of({"question": "q", "answer": "a", "id": 7}, "w", "s", "3"),
    ]
    assert [(s.question, s.solution, s.id) for s in of] == [("p", r"\boxed{1}", "1"), ("q", "a", "2"), ("q", "a", "7")]
    assert of[0].extra == {"level": "Level 5"}
    for row, message in (
        ({"text": "t"}, "expected question and answer"),
        ({"question": "q", "answer": 5}, "'answer' is int"),
        ({"messages": []}, "last of the messages"),
        ({"messages": [{"role": "user", "content": "q"}]}, "last of the messages"),
    ):
        with pytest.raises(UserError, match=message):
            sample_of(row, "data.jsonl line 3", "s", "1")


# ---- the command


def run(*words):
    parser = argparse.ArgumentParser()
    options(parser)
    return main(parser.parse_args([str(word) for word in words]))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


ROWS = [
    {"question": "How many clips did Natalia sell?", "answer": CLIPS},
    {"question": "How many apples?", "answer": "5*4 = 20\n#### 20 apples"},
    {"question": "And pears?", "answer": "<<5*4=21>>21\n#### 21"},
]


def test_command(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert run(write(tmp_path / "in.jsonl", ROWS), "--to", out) == 0
    rows = read(out)
    assert [(r["status"], r["answer"], r["equations"], r["id"]) for r in rows] == [
        ("kept", "72", 2, "in-1"),
        ("repaired", "20", 1, "in-2"),
    ]
    assert rows[0]["messages"] == [
        {"role": "user", "content": ROWS[0]["question"]},
        {"role": "assistant", "content": CLIPS},
    ]
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert report["counts"] == {"kept": 1, "repaired": 1, "rejected": 1}
    assert report["reasons"]["rejected"] == {"false equation": 1}
    assert [(c["where"].rpartition("/")[2], c["status"]) for c in report["changed"]] == [
        ("in.jsonl line 2", "repaired"),
        ("in.jsonl line 3", "rejected"),
    ]
    shown = capsys.readouterr().out
    assert "false equation" in shown
    assert "2 samples in" in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "out.report.json"]


def test_what_it_wrote_is_kept_when_it_is_read_again(tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    run(write(tmp_path / "in.jsonl", ROWS), "--to", first)
    run(first, "--to", second)
    assert [r["messages"] for r in read(second)] == [r["messages"] for r in read(first)]
    assert {r["status"] for r in read(second)} == {"kept"}


def test_thousands_set_apart_by_spaces_stay_what_they_are():
    once = examine("In a month he uses 600 x 30 = 18 000 watts.\n#### 18000")
    assert "<<600*30=18000>>18 000 watts" in once.solution
    twice = examine(once.solution)
    assert (twice.status, twice.solution) == ("kept", once.solution)


def test_gzip_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in ROWS[:1]).encode()))
    table = tmp_path / "b.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS[1:2]), table)
    assert run(packed, table, "--to", tmp_path / "out.jsonl") == 0
    assert [r["answer"] for r in read(tmp_path / "out.jsonl")] == ["72", "20"]


def test_against_drops_and_shows(tmp_path, capsys):
    long = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many?"
    source = write(tmp_path / "in.jsonl", [{"question": long, "answer": CLIPS}, ROWS[1]])
    against = write(tmp_path / "test.jsonl", [{"question": long.upper(), "answer": "#### 72"}])
    run(source, "--to", tmp_path / "out.jsonl", "--against", against)
    assert [r["answer"] for r in read(tmp_path / "out.jsonl")] == ["20"]
    (overlap,) = json.loads((tmp_path / "out.report.json").read_text())["overlaps"]
    assert overlap["training_id"] == "in-1"
    assert overlap["evaluation_id"].endswith("test.jsonl line 1")
    assert len(overlap["ngram"].split()) == 13
    assert "natalia sold" in capsys.readouterr().out


def test_without_a_source_it_writes_the_embedded_problems(tmp_path):
    run("--to", tmp_path / "out.jsonl", "--count", 300, "--seed", 3)
    rows = read(tmp_path / "out.jsonl")
    assert len(rows) == 300
    assert {r["status"] for r in rows} == {"kept"}
    assert {"family", "level", "language"} <= rows[0].keys()


def test_boxed_answers_are_verified(tmp_path):
    pytest.importorskip("math_qwen.verify")
    rows = [
        {"problem": "a", "solution": r"So \boxed{\frac{1}{2}}.", "answer": "0.5"},
        {"problem": "b", "solution": r"So \boxed{3}.", "answer": "4"},
        {"problem": "c", "solution": r"So \boxed{x^2+1}."},
        {"problem": "d", "solution": "So nothing."},
        {"problem": "e", "solution": r"So \boxed{}."},
    ]
    run(write(tmp_path / "math.jsonl", rows), "--to", tmp_path / "out.jsonl", "--workers", 1)
    assert [r["messages"][0]["content"] for r in read(tmp_path / "out.jsonl")] == ["a", "c"]
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert report["reasons"]["rejected"] == {"no final answer": 2, "answer contradicts the gold answer": 1}


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (None, ["missing.jsonl"], "no such file"),
        ('{"question": "q"}\n', ["in.jsonl"], "line 1"),
        ("{\n", ["in.jsonl"], "line 1: not valid JSON"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--to", "in.jsonl"], "overwrite"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--to", "no/out.jsonl"], "no directory"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--to", "out.jsonl.gz"], "must end in .jsonl"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--to", "a.jsonl", "--report", "a.jsonl"], "two files"),
        ("\n", ["in.jsonl"], "no sample in it"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--form", "math"], "no column 'problem'"),
        ('{"question": "q", "answer": "a"}\n', ["in.txt"], "cannot read '.txt'"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--workers", "0"], "at least 1"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl"], "none of the 1 samples could be kept"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, monkeypatch, content, words, message):
    monkeypatch.chdir(tmp_path)
    if content:
        (tmp_path / "in.jsonl").write_text(content)
        (tmp_path / "in.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        run(*words)
    assert not (tmp_path / "prepared.jsonl").exists()
