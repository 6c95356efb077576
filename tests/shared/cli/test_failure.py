"""Who speaks when processes fail."""

import json
import signal
import time

import pytest

from qwen_shared.cli import failure
from qwen_shared.cli.failure import report
from qwen_shared.launched import ERROR_FILE, LAUNCHER_PID, read_failure


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in (ERROR_FILE, LAUNCHER_PID, "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_alone_speaks(capsys):
    assert report("x: error: so it is", 2) == 2
    assert capsys.readouterr().err == "x: error: so it is\n"


def test_under_our_launcher_it_is_left_to_be_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(LAUNCHER_PID, "1")
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    before = time.time_ns()
    assert report("Traceback\nValueError", 1) == 1
    assert capsys.readouterr().err == ""
    left = read_failure(tmp_path / "error.json")
    assert left.text == "Traceback\nValueError" and before <= left.at_ns <= time.time_ns()


def test_under_torchrun_it_is_said_and_left_in_torchs_form(tmp_path, monkeypatch, capsys):
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    monkeypatch.setenv("RANK", "0")
    assert report("Traceback\nValueError", 1) == 1
    assert capsys.readouterr().err == "Traceback\nValueError\n"
    found = ProcessFailure(0, 1, 1, str(tmp_path / "error.json"))
    assert found.message["extraInfo"]["py_callstack"] == "Traceback\nValueError"
    assert abs(found.timestamp - time.time()) < 60


def test_ranks_take_turns_to_say_a_mistake(monkeypatch):
    waited = []
    monkeypatch.setattr(failure.time, "sleep", waited.append)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        for rank, local_rank in (("0", "0"), ("1", "1"), ("8", "0"), ("9", "1")):
            monkeypatch.setenv("RANK", rank)
            monkeypatch.setenv("LOCAL_RANK", local_rank)
            report("x: error: so it is", 2)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert waited == [10.0, 5.0, 10.0]


@pytest.mark.parametrize("text", [None, "", "{", "[]", json.dumps({"message": "text"})])
def test_what_is_not_whole_is_nothing(text, tmp_path):
    path = tmp_path / "error.json"
    if text is not None:
        path.write_text(text)
    assert read_failure(path) is None
