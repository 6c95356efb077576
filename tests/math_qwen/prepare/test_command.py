"""The command `math-qwen prepare`."""

import argparse
import gzip
import json

import pytest

from math_qwen.prepare import main, options
from qwen_shared.errors import UserError

CLIPS = "In May she sold 48/2 = <<48/2=24>>24 clips.\nTogether 48+24 = <<48+24=72>>72 clips.\n#### 72"


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
        ("\n", ["in.jsonl"], "no samples found"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--form", "math"], "no column 'problem'"),
        ('{"question": "q", "answer": "a"}\n', ["in.txt"], "cannot read '.txt'"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl", "--workers", "0"], "at least 1"),
        ('{"question": "q", "answer": "a"}\n', ["in.jsonl"], "none of the 1 samples can be kept"),
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
