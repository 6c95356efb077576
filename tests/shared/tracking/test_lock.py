"""A run directory is one process's at a time, and free again however that process ends."""

import signal
import subprocess
import sys

import pytest

from qwen_shared.errors import UserError
from qwen_shared.tracking.lock import lock_run

HOLDER = (
    "import sys, time\nfrom pathlib import Path\nfrom qwen_shared.tracking.lock import lock_run\n"
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
