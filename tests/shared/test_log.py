"""Noise goes to the file, messages to both, errors through."""

import logging
import subprocess
import sys
import warnings

import pytest

from qwen_shared.errors import UserError
from qwen_shared.log import log_file, say


def test_noise_goes_to_the_file(tmp_path, capfd):
    with log_file(tmp_path):
        logging.getLogger("library").warning("a library's warning")
        print("printed by a library", file=sys.stderr)
        own = logging.StreamHandler()  # as transformers brings one
        own.emit(logging.makeLogRecord({"msg": "through its own handler"}))
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)
            warnings.warn("a python warning", stacklevel=1)
        say("for the user")
    own.emit(logging.makeLogRecord({"msg": "late"}))
    out, err = capfd.readouterr()
    assert (out, err) == ("for the user\n", "")
    text = (tmp_path / "log.txt").read_text()
    for words in ("a library's warning", "printed by", "own handler", "python warning", "for the user", "late"):
        assert words in text


def test_a_name_that_is_no_text_is_said_all_the_same(tmp_path, capfd):
    for run_dir in (tmp_path, None):
        with log_file(run_dir):
            say("caf\udce9")
    assert capfd.readouterr() == ("caf\\udce9\n" * 2, "")
    assert "caf\\udce9" in (tmp_path / "log.txt").read_text()


def test_errors_pass_through_and_are_written(tmp_path, capfd):
    with pytest.raises(ZeroDivisionError), log_file(tmp_path):
        _ = 1 // 0
    print("back", file=sys.stderr)
    assert capfd.readouterr().err == "back\n"
    assert "ZeroDivisionError" in (tmp_path / "log.txt").read_text()


def test_other_ranks_have_their_own_file(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("RANK", "3")
    with log_file(tmp_path):
        say("only in the file")
    assert capfd.readouterr() == ("", "")
    assert "only in the file" in (tmp_path / "logs/rank-3.txt").read_text()


def test_nowhere(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with log_file(None):
        print("noise", file=sys.stderr)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), log_file(tmp_path / "file"):
        pass


def test_importing_the_trainer_s_libraries_is_silent(tmp_path):
    code = (
        "from pathlib import Path\nfrom qwen_shared.log import log_file\n"
        f"with log_file(Path({str(tmp_path)!r})):\n    import torch, megatron.core, transformers\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
