"""One confined process and its descendants: started, measured, ended and removed by the supervisor."""

# Between fork and exec.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import resource
import select
import signal
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from code_qwen.sandbox import folders, kernel, landlock, namespaces, seccomp
from code_qwen.sandbox.outcome import Limits

_OPEN_FILES = 256
_SWEEP_SECONDS = 20.0
_STATUS = struct.Struct("=idq")  # wait status, CPU seconds, peak resident bytes


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """What this machine offers to confine a process, found by trying (`probe`)."""

    namespaces: bool = False
    landlock: int = 0  # version
    seccomp: bool = False
    user: int | None = None  # another user id to take, if this process is root


def environment(temporary: str = "/tmp") -> dict[str, str]:
    keep = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    fixed = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": temporary, "TMPDIR": temporary}
    fixed["MALLOC_ARENA_MAX"] = "2"  # one arena for each thread would take 64 MB of address space each
    return fixed | keep


@dataclass(frozen=True, slots=True)
class ExitStatus:
    status: int | None
    cpu_seconds: float
    resident_bytes: int

    @property
    def signal(self) -> int | None:
        return os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else None

    @property
    def exit_code(self) -> int | None:
        return os.WEXITSTATUS(self.status) if self.status is not None and os.WIFEXITED(self.status) else None


class Box:
    """Runs `work(temporary)`, which may call exec or return, confined in a new process with `descriptors` as 0, 1, 2, …
    and no others. `temporary` is its private directory and holds `files`.
    """

    def __init__(
        self,
        mechanisms: Mechanisms,
        limits: Limits,
        descriptors: list[int],
        work: Callable[[str], None],
        files: dict[str, bytes] | None = None,
    ):
        self.mechanisms = mechanisms
        self._ending: ExitStatus | None = None
        self._status = -1
        self._temporary = ""
        self._folder = -1  # its descriptor: a program may put something else at the path
        if mechanisms.namespaces:
            self._clone(limits, descriptors, work, files or {})
        else:
            self._fork(limits, descriptors, work, files or {})
        self.descriptor = os.pidfd_open(self.pid)

    def _clone(self, limits: Limits, descriptors: list[int], work: Callable, files: dict[str, bytes]) -> None:
        self._status, status = os.pipe()
        go, mapped = os.pipe()
        self.pid = kernel.clone(namespaces.FLAGS)
        if self.pid == 0:
            with _no_return():
                _volunteer_for_oom()
                os.close(mapped)
                os.read(go, 1)
                namespaces.enter(2 * limits.file_bytes)
                _write_files(files, "/tmp")
                _init(status, lambda: _confine(self.mechanisms, limits, descriptors, "/tmp", work))
        os.close(status)
        os.close(go)
        user, group = (self.mechanisms.user,) * 2 if self.mechanisms.user is not None else (os.geteuid(), os.getegid())
        try:
            namespaces.write_maps(self.pid, namespaces.USER, user, group)
        except OSError:
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            os.write(mapped, b"+")
        os.close(mapped)

    def _fork(self, limits: Limits, descriptors: list[int], work: Callable, files: dict[str, bytes]) -> None:
        if self.mechanisms.landlock:
            _visible()
        self._temporary = tempfile.mkdtemp(prefix=f"box-{os.getpid()}-")
        self._folder = folders.open_folder(self._temporary)
        _write_files(files, self._temporary)
        if self.mechanisms.user is not None:
            for path in (Path(self._temporary), *Path(self._temporary).iterdir()):
                os.chown(path, self.mechanisms.user, self.mechanisms.user)
        self.pid = os.fork()
        if self.pid == 0:
            with _no_return():
                _volunteer_for_oom()
                _confine(self.mechanisms, limits, descriptors, self._temporary, work)

    def end(self, seconds: float = 0.0) -> ExitStatus:
        if self._ending is None:
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0 and not _has_ended(self.descriptor, left):
                pass
            self._ending = self._end()
        return self._ending

    def _end(self) -> ExitStatus:
        with contextlib.suppress(ProcessLookupError):
            if not _has_ended(self.descriptor, 0.0):
                signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)  # with namespaces, this returns after the last of its processes
        os.close(self.descriptor)
        ending = ExitStatus(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)
        if self._status >= 0:
            data = os.read(self._status, _STATUS.size)
            os.close(self._status)
            ending = ExitStatus(*_STATUS.unpack(data)) if len(data) == _STATUS.size else ExitStatus(None, 0.0, 0)
        return ending

    def remove(self) -> None:
        """Call it after the last process that can write to the directory has ended."""
        if self._temporary:
            folders.remove(self._temporary, self._folder)


def usage(boxes: list[Box]) -> list[tuple[int, int]]:
    """(processes, resident bytes) of each box; adopted orphans count for the first."""
    below = _families()
    roots = [[one.pid] for one in boxes]
    own = {one.pid for one in boxes}
    roots[0] += [pid for pid in below.get(os.getpid(), []) if pid not in own]
    trees = [_with_descendants(below, these) for these in roots]
    return [(len(tree), sum(map(_resident, tree))) for tree in trees]


def close(boxes: list[Box]) -> None:
    for box in boxes:
        box.end()
    _sweep()
    for box in boxes:
        box.remove()


def _sweep() -> None:
    """Kill and reap until this process has no children: the orphans of a killed one become children in turn."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = _children()
        if not children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
                continue
            return
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_bytes().split()]
    except FileNotFoundError:
        return _families().get(os.getpid(), [])


def _families() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    return children


def _with_descendants(children: dict[int, list[int]], roots: list[int]) -> list[int]:
    found = list(roots)
    for pid in found:
        found += children.get(pid, [])
    return found


def _resident(pid: int) -> int:
    """Without mapped files."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = [line.split() for line in file if line.startswith((b"RssAnon:", b"RssShmem:"))]
        return sum(int(line[1]) << 10 for line in lines)
    except (OSError, ValueError):
        return 0


def _has_ended(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@contextlib.contextmanager
def _no_return():
    try:
        yield
    except BaseException:
        os._exit(126)
    os._exit(0)


def _volunteer_for_oom() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _init(status: int, start: Callable[[], None]) -> None:
    """Process 1 of the box. When it ends, the kernel ends all the others."""
    kernel.hide_memory()
    kernel.die_with_parent(signal.SIGKILL)
    for number in range(1, signal.NSIG):
        # Without handlers process 1 ignores every signal from inside, even SIGKILL.
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    program = os.fork()
    if program == 0:
        with _no_return():
            start()
    os.dup2(status, 0)
    os.closerange(1, _highest_descriptor())
    while True:
        pid, code, usage = os.wait4(-1, 0)
        if pid == program:
            os.write(0, _STATUS.pack(code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10))
            os._exit(0)


def _confine(
    mechanisms: Mechanisms, limits: Limits, descriptors: list[int], temporary: str, work: Callable[[str], None]
) -> None:
    os.setsid()
    _take_descriptors(descriptors)
    os.umask(0o077)
    os.chdir(temporary)
    if not mechanisms.namespaces and mechanisms.user is not None:
        os.setgroups([])
        os.setresgid(*(mechanisms.user,) * 3)
        os.setresuid(*(mechanisms.user,) * 3)
    _set_limits(limits, in_namespace=mechanisms.namespaces, own_user=mechanisms.user is not None)
    for step in (lambda: kernel.die_with_parent(signal.SIGKILL), kernel.no_new_privileges, kernel.drop_capabilities):
        with contextlib.suppress(OSError):
            step()
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if mechanisms.landlock and not mechanisms.namespaces:
        landlock.apply(*_visible(), writable=[temporary, "/dev/null"])
    if mechanisms.seccomp:
        seccomp.apply(is_alone=mechanisms.namespaces)
    work(temporary)


@functools.cache
def _visible() -> tuple[list[str], list[str]]:
    """(readable paths, folders that can only be listed, as an import does): `namespaces.visible` without
    `namespaces.hidden`, because Landlock's rules only add.
    """
    hidden = set(namespaces.hidden())
    readable, listable = list(namespaces.DEVICES), []
    waiting = namespaces.visible()
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in hidden:
            continue
        if any(folder.startswith(real + "/") for folder in hidden):
            listable.append(path)
            waiting += [f"{path}/{name}" for name in os.listdir(path)]
        else:
            readable.append(path)
    return readable, listable


def _take_descriptors(descriptors: list[int]) -> None:
    high = [_duplicate_above(descriptor, len(descriptors)) for descriptor in descriptors]
    for k, descriptor in enumerate(high):
        os.dup2(descriptor, k, inheritable=True)
    os.closerange(len(descriptors), _highest_descriptor())


def _duplicate_above(descriptor: int, least: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, least)


def _highest_descriptor() -> int:
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)


def _set_limits(limits: Limits, in_namespace: bool, own_user: bool) -> None:
    cpu = max(1, int(-(-limits.cpu_seconds // 1)))
    limits_by_name = {
        "CPU": (cpu, cpu + 1),
        "AS": (int(limits.memory_bytes),) * 2,
        "FSIZE": (int(limits.file_bytes),) * 2,
        "NOFILE": (_OPEN_FILES,) * 2,
        **dict.fromkeys(("CORE", "MEMLOCK", "MSGQUEUE", "NICE", "RTPRIO"), (0, 0)),
    }
    if in_namespace:
        limits_by_name["NPROC"] = (limits.processes + 1,) * 2
    elif own_user:
        limits_by_name["NPROC"] = (limits.processes,) * 2
    for name, pair in limits_by_name.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            pair = (min(pair[0], most), min(pair[1], most))
        resource.setrlimit(kind, pair)


def _write_files(files: dict[str, bytes], folder: str) -> None:
    for name, data in files.items():
        Path(folder, name).write_bytes(data)
