"""The verb `verify`."""

import argparse
import json

import pytest

from math_qwen.verify.command import main, options
from qwen_shared.errors import UserError


@pytest.fixture
def run(capsys):
    def command(*words: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        options(parser)
        code = main(parser.parse_args(list(words)))
        return code, capsys.readouterr().out

    return command


@pytest.fixture
def pairs(tmp_path):
    def write(*rows) -> str:
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return str(path)

    return write


def test_one_pair(run):
    assert run("1/2", "0.5") == (0, "right: 0.5 equals 1/2\n")
    code, out = run("1/2", "0.4")
    assert code == 1
    assert out.startswith("wrong: ")


def test_file(run, pairs, tmp_path):
    path = pairs(
        {"gold": "1/2", "prediction": "0.5", "expected": True},
        "",
        {"answer": 7, "response": "#### 7", "expected": False},
    )
    out = tmp_path / "out.jsonl"
    code, said = run("--file", path, "--to", str(out))
    assert code == 0
    assert "right" in said
    assert "as expected: 1 of 2" in said
    assert [json.loads(line)["outcome"] for line in out.read_text().splitlines()] == ["right", "right"]
    assert run("--file", pairs({"gold": "1", "answer": "2"}))[0] == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], ":1: not JSON"),
        (["[1]"], ":1: must be a JSON object, not list"),
        ([{"gold": "1", "pred": "1"}, {"gold": "1"}], ":2: needs gold .* it has gold"),
        ([{"gold": ["1"], "pred": "1"}], ":1: gold must be a text or a number, not list"),
        ([], "holds no pair"),
    ],
)
def test_mistakes_in_a_file(run, pairs, rows, message):
    with pytest.raises(UserError, match=message):
        run("--file", pairs(*rows))


def test_the_pairs_are_never_written_over_and_bad_targets_are_known_first(run, pairs, tmp_path):
    path = pairs({"gold": "1", "prediction": "1"})
    for to, message in ((path, "overwrite"), (str(tmp_path), "is a directory"), (f"{path}/x/out", "no directory")):
        with pytest.raises(UserError, match=message):
            run("--file", path, "--to", to)
    assert json.loads((tmp_path / "pairs.jsonl").read_text()) == {"gold": "1", "prediction": "1"}
    assert [file.name for file in tmp_path.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1"], "GOLD and PREDICTION"),
        ([], "GOLD and PREDICTION"),
        (["1", "2", "--timeout", "0"], "positive"),
        (["1", "2", "--to", "x"], "--file"),
        (["--file", "/nowhere.jsonl"], "No such file"),
    ],
)
def test_mistakes(run, words, message):
    with pytest.raises(UserError, match=message):
        run(*words)


@pytest.mark.parametrize("timeout", ["nan", "inf", "0", "-1", "1e300"])
def test_timeouts_that_are_none(run, timeout):
    with pytest.raises(UserError, match="timeout"):
        run("5", "5", "--timeout", timeout)


def test_a_byte_order_mark_and_windows_line_ends(run, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"gold": "5", "prediction": "5"}\r\n')
    assert run("--file", str(path))[0] == 0
