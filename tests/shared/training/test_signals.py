"""A stop is asked for once, however often the same Ctrl-C arrives, and only while the loop runs."""

import os
import signal
import subprocess
import sys

from qwen_shared.training.signals import StopRequest


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
        "import os, signal\nfrom qwen_shared.training import signals\nsignals._SAME_REQUEST_S = 0.0\n"
        "with signals.StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    os.kill(os.getpid(), signal.SIGINT)\n    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGINT and "still here" not in done.stdout
