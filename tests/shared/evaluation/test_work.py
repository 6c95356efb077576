"""Work goes on where it was stopped, and only its own."""

import json

import pytest

from qwen_shared.errors import UserError
from qwen_shared.evaluation.work import Work


def test_the_same_work_goes_on(tmp_path):
    target = tmp_path / "rows.jsonl"
    work = Work(target, "these settings")
    work.add([{"a": 1}, {"a": 2}])
    work.add([{"a": "三"}])
    assert not target.exists()
    del work  # its process ends
    again = Work(target, "these settings")
    assert again.done == [{"a": 1}, {"a": 2}, {"a": "三"}]
    again.finish("whole\n")
    assert target.read_text() == "whole\n" and list(tmp_path.iterdir()) == [target]


def test_a_torn_line_is_done_again(tmp_path):
    target = tmp_path / "rows.jsonl"
    Work(target, "key").add([1])
    partial = tmp_path / ".rows.jsonl.partial"
    whole = partial.read_bytes()
    partial.write_bytes(whole + b'[{"a": ')
    work = Work(target, "key")
    assert work.done == [1] and partial.read_bytes() == whole
    work.add([2])
    del work
    assert Work(target, "key").done == [1, 2]


def test_other_work_begins_anew(tmp_path):
    target = tmp_path / "rows.jsonl"
    Work(target, "key").add([1])
    assert Work(target, "another").done == []
    assert Work(target, "key").done == []  # and what was there is gone


def test_only_one_process_is_at_it(tmp_path):
    target = tmp_path / "rows.jsonl"
    work = Work(target, "key")
    work.add([1])
    for fingerprint in ("key", "another"):
        with pytest.raises(UserError, match=r"rows\.jsonl: another process is at work on it"):
            Work(target, fingerprint)
    work.add([2])
    work.finish("whole\n")
    assert Work(target, "key").done == [] and target.read_text() == "whole\n"


def test_values_are_json(tmp_path):
    Work(tmp_path / "x", "k").add([{"text": "two\nlines"}])
    _, line = (tmp_path / ".x.partial").read_text().splitlines()
    assert json.loads(line) == [{"text": "two\nlines"}]
