"""A stop is asked for once, however often the same Ctrl-C arrives, and only while the loop runs."""

import os
import signal
import subprocess
import sys

import pytest

from qwen_shared.job.signals import StopRequest
from qwen_shared.launched import LAUNCHER_PID, TIME_IS_UP


def test_a_signal_is_noted_and_handlers_come_back(megatron):
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.agreed()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # the same request, passed on by a parent
        assert stop.agreed() and stop.name == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_request_seconds_later_ends_the_process():
    script = (
        "import os, signal\nfrom qwen_shared.job import signals\nsignals._SAME_REQUEST_S = 0.0\n"
        "with signals.StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    os.kill(os.getpid(), signal.SIGINT)\n    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGINT and "still here" not in done.stdout


@pytest.mark.parametrize("launched", [False, True])
def test_the_end_of_a_job_s_time_is_called_what_the_cluster_sent(launched, monkeypatch):
    """A launcher hands it on as another signal, because the cluster sends it to every process itself."""
    if launched:
        monkeypatch.setenv(LAUNCHER_PID, "1")
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop.asked is not launched
            if launched:
                os.kill(os.getpid(), TIME_IS_UP)
            assert stop.name == "SIGUSR1"
    finally:
        signal.signal(signal.SIGUSR1, before)
