"""A run directory is one process's at a time, and free again however that process ends."""

import signal
import subprocess
import sys

import pytest

from qwen_shared.errors import UserError
from qwen_shared.run.lock import lock_run, lock_target

HOLDER = (
    "import sys, time\nfrom pathlib import Path\nfrom qwen_shared.run.lock import lock_run\n"
    "with lock_run(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"another process \(pid {process.pid}\)"), lock_run(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock_run(tmp_path):
        pass
    with lock_run(tmp_path):  # and by the same process again
        pass


def test_a_place_is_one_process_s_and_nothing_stays(tmp_path):
    place = tmp_path / "new" / "{there}"
    code = HOLDER.replace("lock_run", "lock_target")
    process = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    said = rf"there\}} is being published by another process \(pid {process.pid}\); wait for it"
    with pytest.raises(UserError, match=said), lock_target(place):
        pass
    with lock_target(place.with_name("other")):  # beside it there is room
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lock_target(place):
        pass
    assert not list(place.parent.iterdir())


def test_a_lock_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    """Its holder may be done between our opening its file and our locking that."""
    gone = []

    def flock(file, how):
        if not gone:
            gone.append(file)
            (tmp_path / ".there.lock").unlink()

    monkeypatch.setattr("qwen_shared.run.lock.fcntl.flock", flock)
    with lock_target(tmp_path / "there"):
        assert gone and (tmp_path / ".there.lock").is_file()
    assert not list(tmp_path.iterdir())
