"""Commands without the cost of their start: forks of a server that has loaded torch, Megatron and transformers.

`run` and `Popen` stand for those of `subprocess`. They fork `[sys.executable, "-m", module, …]` and
`[sys.executable, "program.py", …]`, and start any other command as `subprocess` does. A test whose subject is the start
of a process (imports, speed, early signals) uses `subprocess` itself.

A forked command has its own environment, streams, directory and session, and fresh module state: the server calls none
of our functions but `quick_import`. Two things differ from a real start: all forks of a server share one seed of
Python's `hash()`, and modules that the command does not need are loaded. Each pytest worker has its own server, started
at first use.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import NoReturn

# Libraries read these while they are imported: a command with other values than the server's gets a real start.
IMPORT_TIME = ("CUDA_", "HF_ENDPOINT", "HF_HOME", "LD_", "OMP_", "PYTHON", "TRANSFORMERS_")
SERVER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
LOADED = (
    "datasets",
    "deepspeed",
    "peft",
    "rich.progress",
    "transformers.models.qwen2.modeling_qwen2",
    "trl",
    "qwen_shared.sft.job",
    "qwen_shared.training.pretrain",
)
# Without these rights a read-only file is read-only to root as well.
OBEY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
if os.geteuid() or not shutil.which("setpriv") or subprocess.run([*OBEY, "true"], capture_output=True).returncode:
    OBEY = []
_WITH_GPU = Path("/dev/nvidiactl").exists()  # a process that forks must not have looked at a GPU


def run(command: list, *, capture_output=False, timeout=None, check=False, **options) -> subprocess.CompletedProcess:
    """`subprocess.run`, by `Popen` below."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _forkable(command: list[str], env: dict[str, str]) -> bool:
    if _WITH_GPU or command[:1] != [sys.executable] or (command[1].startswith("-") and command[1] != "-m"):
        return False
    own = os.environ | SERVER_ENVIRONMENT
    names = {name for name in env.keys() | own.keys() if name.startswith(IMPORT_TIME)} - {"PYTHONPATH"}
    return all(env.get(name) == own.get(name) for name in names)


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


class Popen(subprocess.Popen):
    """`subprocess.Popen` of a process that the server forks, and that the server waits for."""

    _status: socket.socket | None = None
    _can_fork = staticmethod(_forkable)

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
        restore_signals, gid, gids, uid, umask, start_new_session, process_group,
    ):  # fmt: skip
        args = args if isinstance(args, str | bytes | os.PathLike) else list(args)
        command = [os.fspath(word) for word in args] if isinstance(args, list) else []
        env = dict(os.environ if env is None else env)
        if executable or shell or preexec_fn or pass_fds or not self._can_fork(command, env):
            return super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
                restore_signals, gid, gids, uid, umask, start_new_session, process_group,
            )  # fmt: skip
        cwd = str(Path(cwd or ".").absolute())
        request = {"command": command, "env": env, "cwd": cwd, "session": start_new_session}
        streams = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = self._fork(request, streams)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _fork(self, request: dict, streams: list[int]) -> int:
        server, log = _server()
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(server, [json.dumps(request).encode()], [*streams, theirs.fileno()])
        pid = self._status.recv(16)
        assert pid, f"the server of forks has failed:\n{log.read_text()}"
        return int(pid)

    def _try_wait(self, wait_flags):
        if self._status is None:
            return super()._try_wait(wait_flags)
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        status = self._status.recv(16)
        self._status.close()
        return self.pid, int(status or signal.SIGKILL)

    def _internal_poll(self, _deadstate=None, **_):
        if self._status is None:
            return super()._internal_poll(_deadstate)
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                pid, status = (self.pid, 0) if self.returncode is not None else self._try_wait(os.WNOHANG)
                if pid and self.returncode is None:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


class _ForkingPopen(Popen):
    """What a forked command starts in its turn, such as ranks: forks of itself, as long as it has one thread."""

    @staticmethod
    def _can_fork(command: list[str], env: dict[str, str]) -> bool:
        return _threads() == 1 and _forkable(command, env)

    def _fork(self, request: dict, streams: list[int]) -> int:
        for stream in (sys.__stdout__, sys.__stderr__):
            stream.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            os.read(reading, 1)
            os.close(reading)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return pid
        if request["session"]:
            os.setsid()
        os.close(writing)  # only now is there somebody for its parent to signal
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        weakref.finalize._registry.clear()  # our parent's temporary folders are not ours to remove
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _run(request, streams)


@functools.cache
def _server() -> tuple[socket.socket, Path]:
    """The server's socket, and where it says what went wrong. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = Path(tempfile.mkstemp(prefix="forked-")[1])
    with theirs, log.open("wb") as output:
        command = [*OBEY, sys.executable, __file__, str(theirs.fileno())]
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        env = os.environ | SERVER_ENVIRONMENT
        server = subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()], **streams)

    def end() -> None:
        ours.close()
        server.wait()
        log.unlink()

    atexit.register(end)
    return ours, log


# ---- in the server


def _load() -> None:
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        for module in LOADED:
            importlib.import_module(module)
    assert _threads() == 1, "a lock that another thread holds would never be free in a fork"
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket) -> tuple[dict, list[int]]:
    """Forks for every request, and returns in the fork: what it shall run, and its streams."""
    running: dict[int, tuple[int, socket.socket]] = {}  # a pidfd: its pid, and where its end is reported
    while True:
        for ready in select.select([control, *running], [], [])[0]:
            if ready is not control:
                pid, status = running.pop(ready)
                os.close(ready)
                with status, contextlib.suppress(OSError):
                    status.send(str(os.waitpid(pid, 0)[1]).encode())
                continue
            message, ancillary, *_ = control.recvmsg(1 << 20, socket.CMSG_SPACE(16))
            if not message:
                os._exit(0)
            descriptors = array.array("i", ancillary[0][2]).tolist()
            pid = os.fork()
            status = socket.socket(fileno=descriptors[3])
            if not pid:
                request = json.loads(message)
                if request["session"]:
                    os.setsid()
                status.send(str(os.getpid()).encode())
                return request, descriptors[:3]
            running[os.pidfd_open(pid)] = pid, status
            for descriptor in descriptors[:3]:
                os.close(descriptor)


def _run(request: dict, streams: list[int]) -> NoReturn:
    """As `python -m module …` or `python program.py …`, but that nothing is torn down at the end."""
    code: int | str | None = 0
    interrupted = False
    try:
        _enter(request, streams)
        _, program, *words = request["command"]
        if program == "-m":
            sys.argv = ["-m", *words[1:]]
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [program, *words]
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException as error:
        code = 1
        sys.excepthook(type(error), error, error.__traceback__)
        interrupted = isinstance(error, KeyboardInterrupt)
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(1 if isinstance(code, str) else code or 0)


def _enter(request: dict, streams: list[int]) -> None:
    """The process becomes what a new one is."""
    import numpy

    for number, descriptor in enumerate([os.dup(stream) for stream in streams]):
        os.dup2(descriptor, number)
    os.closerange(3, max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    _, program, *_ = request["command"]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [request["cwd"] if program == "-m" else str(Path(program).parent), *paths, *_LIBRARIES]
    subprocess.Popen = _ForkingPopen
    numpy.random.seed()


if __name__ == "__main__":
    _LIBRARIES = sys.path[1:]
    _load()
    _run(*_serve(socket.socket(fileno=int(sys.argv[1]))))
