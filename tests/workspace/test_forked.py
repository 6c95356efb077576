"""A forked command is what a started one is."""

import os
import signal
import subprocess
import sys

import forked
import pytest

PROGRAM = """
import json, os, signal, sys
handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP)]
session = (os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())
descriptors = len(os.listdir("/proc/self/fd"))
found = dict(
    words=sys.argv[1:], name=__name__, main=sys.modules["__main__"].__file__, cwd=os.getcwd(), env=dict(os.environ),
    path=sys.path, handlers=handlers, session=session, descriptors=descriptors, read=sys.stdin.read(),
    buffered=(sys.stdout.line_buffering, sys.stderr.line_buffering),
)
print(json.dumps(found, indent=1, sort_keys=True))
sys.exit(sys.argv[1] if len(sys.argv) > 1 else None)
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "program.py").write_text(PROGRAM)
    return tmp_path / "library" / "program.py"


@pytest.mark.parametrize("words", [[], ["a word", "and more"]])
@pytest.mark.parametrize("as_module", [False, True])
@pytest.mark.parametrize("session", [False, True])
def test_it_finds_what_a_started_one_finds(program, environment, tmp_path, words, as_module, session):
    command = [sys.executable, *(["-m", "program"] if as_module else [program]), *words]
    options = {"env": environment | {"PYTHONPATH": str(program.parent)}, "cwd": tmp_path, "text": True}
    options |= {"capture_output": True, "start_new_session": session}
    started = subprocess.run(command, input="some text", **options)
    process = forked.Popen(command, stdin=subprocess.PIPE, **_with_pipes(options))
    out, err = process.communicate("some text", timeout=60)
    assert process._status is not None, "it was not forked"
    assert (process.returncode, out, err) == (started.returncode, started.stdout, started.stderr)


def _with_pipes(options):
    left = {key: value for key, value in options.items() if key != "capture_output"}
    return left | {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_it(tmp_path, environment, number):
    program = tmp_path / "sleeper.py"
    program.write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    process = forked.Popen(
        [sys.executable, program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout.readline() == b"ready\n" and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    os.kill(process.pid, number)
    assert process.wait(timeout=60) == -number
    process.stdout.close()


def test_what_libraries_read_while_they_are_imported_is_theirs(environment):
    """Such a command is started, and so is one without a module or a file."""
    for words, more in ((["-m", "this"], {"OMP_NUM_THREADS": "2"}), (["-c", "pass"], {})):
        with forked.Popen([sys.executable, *words], env=environment | more, stdout=subprocess.DEVNULL) as process:
            assert process._status is None
        assert process.returncode == 0


def test_ranks_are_forks_of_their_launcher(tmp_path, environment):
    program = tmp_path / "launcher.py"
    program.write_text(
        "import os, subprocess, sys\n"
        "if sys.argv[1:]:\n"
        "    print(os.getppid() == int(sys.argv[1]), 'torch' in sys.modules, flush=True)\n"
        "    sys.exit(7)\n"
        "rank = subprocess.Popen([sys.executable, __file__, str(os.getpid())])\n"
        "print(rank.wait(), type(rank).__name__)\n"
    )
    done = forked.run([sys.executable, program], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True True\n7 _ForkingPopen\n", "")
