"""Programs that want out, or want everything: what they use, see and leave."""

# Names of what programs reach.
# ruff: noqa: E501, PTH110, PTH208

import contextlib
import dataclasses
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from code_qwen.sandbox import Limits, Outcome, Program, pool, run, run_many, run_tests

MB = 1 << 20
SMALL = Limits(
    cpu_seconds=1, wall_seconds=1.0, memory_bytes=256 * MB, processes=12, file_bytes=4 * MB, output_bytes=100_000
)
PATIENT = dataclasses.replace(SMALL, wall_seconds=20)
ENDED = {Outcome.FINISHED, Outcome.FAILED}
FORK = "import os, sys, time, signal\ndef fork():\n    try: return os.fork()\n    except OSError: return -1\n"

# Name: program, and how it may end.
LIMITS = {
    "memory at once": ("x = bytearray(1 << 40)", {Outcome.MEMORY}),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(1 << 20))", {Outcome.MEMORY, Outcome.TIMEOUT}),
    "memory in small objects": ("x = []\nwhile True: x.append([x] * 50)", {Outcome.MEMORY, Outcome.TIMEOUT}),
    "memory by mmap": (
        "import mmap\nx = [mmap.mmap(-1, 1 << 24) for _ in range(99)]",
        {Outcome.FAILED, Outcome.MEMORY},
    ),
    "memory after catching": (
        "x = []\nwhile True:\n    try: x.append(bytearray(1 << 22))\n    except MemoryError: pass",
        {Outcome.TIMEOUT},
    ),
    "recursion without limit": (
        "import sys\nsys.setrecursionlimit(1 << 30)\ndef f(n): return f(n + 1) + 1\nf(0)",
        {Outcome.MEMORY, Outcome.CRASH, Outcome.FAILED, Outcome.TIMEOUT},
    ),
    "stack of C": (
        "import sys\nsys.setrecursionlimit(1 << 30)\nx = []\nfor _ in range(1 << 20): x = [x]\nprint(len(repr(x)))",
        {Outcome.MEMORY, Outcome.CRASH, Outcome.FAILED, Outcome.TIMEOUT},
    ),
    "a great power": ("x = 9 ** 9 ** 9", {Outcome.TIMEOUT, Outcome.MEMORY}),
    "a hopeless pattern": ("import re\nre.match('(a*)*b', 'a' * 40)", {Outcome.TIMEOUT}),
    "loop": ("while True: pass", {Outcome.TIMEOUT}),
    "sleep": ("import time\ntime.sleep(1000)", {Outcome.TIMEOUT}),
    "input that never comes": ("import os\nr, w = os.pipe()\nos.read(r, 1)", {Outcome.TIMEOUT}),
    "signals ignored": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, "
        "ValueError): pass\nwhile True: pass",
        {Outcome.TIMEOUT},
    ),
    "signals blocked": (
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(1000)",
        {Outcome.TIMEOUT},
    ),
    "alarm cancelled": (
        "import signal, time\nsignal.alarm(0)\nsignal.setitimer(signal.ITIMER_PROF, 0)\nwhile True: pass",
        {Outcome.TIMEOUT},
    ),
    "stops itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", {Outcome.TIMEOUT, Outcome.FAILED}),
    "raises its limits": (
        "import resource\nfor name in ('CPU', 'AS', 'NPROC', 'FSIZE', 'NOFILE', 'CORE'):\n"
        "    kind = getattr(resource, 'RLIMIT_' + name)\n"
        "    for most in (resource.RLIM_INFINITY, 1 << 40):\n"
        "        try: resource.setrlimit(kind, (most, most))\n        except (ValueError, OSError): pass\n"
        "        try: resource.setrlimit(kind, (resource.getrlimit(kind)[1],) * 2)\n"
        "        except (ValueError, OSError): pass\n"
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        {Outcome.MEMORY, Outcome.TIMEOUT},
    ),
    "prints without end": ("while True: print('x' * 1000)", {Outcome.OUTPUT}),
    "prints one long line": ("print('x' * 10 ** 8)", {Outcome.OUTPUT, Outcome.MEMORY}),
    "errors without end": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", {Outcome.OUTPUT}),
    "writes to both": ("import os\nwhile True: os.write(1, b'x' * 999); os.write(2, b'y')", {Outcome.OUTPUT}),
    "closes its outputs": ("import os, time\nos.closerange(0, 256)\ntime.sleep(1000)", {Outcome.TIMEOUT}),
    "opens without end": ("x = []\nwhile True: x.append(open('/dev/null'))", {Outcome.FAILED}),
    "a large file": ("with open('x', 'wb') as f:\n    while True: f.write(b'x' * (1 << 20))", {Outcome.FAILED}),
    "a large sparse file": ("open('x', 'wb').truncate(1 << 40)", {Outcome.FAILED}),
    "folders in folders": (
        "import os\ntry:\n    for _ in range(1500): os.mkdir('d'); os.chdir('d')\nexcept OSError: pass",
        ENDED | {Outcome.TIMEOUT},
    ),
    "folders that may not be entered": (
        "import os\nos.makedirs('a/b/c')\nopen('a/b/c/x', 'w').close()\nfor p in ('a/b/c', 'a/b', 'a'):\n"
        "    try: os.chmod(p, 0)\n    except OSError: pass",
        ENDED,
    ),
    "odd names": (
        "import os\nfor n in (b'\\xff', b'-rf', b'a\\nb', b'*', b'..x'): open(n, 'w').close()\nos.symlink('/', 'root')\n"
        "os.symlink('loop', 'loop')\nos.mkfifo('fifo')",
        ENDED,
    ),
    "threads without end": (
        "import threading, time\nwhile True:\n    try: threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "    except RuntimeError: pass",
        {Outcome.TIMEOUT, Outcome.MEMORY, Outcome.CRASH},
    ),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)", {Outcome.CRASH}),
    "aborts": ("import os\nos.abort()", {Outcome.CRASH}),
    "breaks its memory": ("import ctypes\nctypes.string_at(0)", {Outcome.CRASH}),
    "exits badly": ("import os\nos._exit(77)", {Outcome.FAILED}),
    # children, in number and without end
    "many children that wait": (
        FORK + "for _ in range(40):\n    if fork() == 0: time.sleep(1000)\ntime.sleep(1000)",
        {Outcome.TIMEOUT, Outcome.CRASH},
    ),
    "a child in a session of its own": (
        FORK
        + "if fork() == 0:\n    os.setsid()\n    if fork() == 0: time.sleep(1000)\n    os._exit(0)\ntime.sleep(.2)",
        ENDED,
    ),
    "a daemon that ignores signals": (
        FORK
        + "for n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "if fork() == 0:\n    os.setsid(); os.setpgid(0, 0) if os.getpgrp() != os.getpid() else 0\n"
        "    os.closerange(0, 256)\n    while True: time.sleep(1000)",
        ENDED,
    ),
    "children that replace themselves": (
        FORK + "end = time.time() + 1000\nfor _ in range(3):\n    if fork() == 0:\n        os.setsid()\n"
        "        while True:\n            if fork() > 0: os._exit(0)\n            time.sleep(.001)\nprint('parent ends')",
        ENDED | {Outcome.CRASH},  # a count may meet more than 12, with the dead that are not reaped yet
    ),
    "stopped children": (
        FORK
        + "for _ in range(3):\n    if fork() == 0: os.setsid(); os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(.2)",
        ENDED,
    ),
    "zombies": (FORK + "for _ in range(8):\n    if fork() == 0: os._exit(0)\ntime.sleep(.3)", ENDED),
    "a child that writes on": (
        FORK + "if fork() == 0:\n    while True:\n        print('child'); time.sleep(.01)\nprint('parent')",
        ENDED,
    ),
    "memory of many": (
        FORK + "for _ in range(8):\n    if fork() == 0: break\nx = bytearray(b'x') * (100 << 20)\ntime.sleep(1000)",
        {Outcome.MEMORY, Outcome.TIMEOUT},
    ),
    "memory in pipes": (
        "import os, fcntl\nx = []\ntry:\n    while True:\n        p = os.pipe(); x.append(p)\n"
        "        fcntl.fcntl(p[1], 1031, 1 << 20); os.set_blocking(p[1], False); os.write(p[1], b'x' * (1 << 20))\n"
        "except OSError: pass",
        ENDED,
    ),
    "a signal without a name": ("import os\nos.kill(os.getpid(), 40)", {Outcome.CRASH}),
    "removes its directory": (
        "import os\nos.remove('program.py')\ntry: os.rmdir(os.getcwd())\nexcept OSError: pass",
        {Outcome.FINISHED},
    ),
    "nice and cores": (
        "import os\nfor call in (lambda: os.nice(-20), lambda: os.sched_setaffinity(0, {0}), lambda: os.setpriority("
        "0, 0, -20)):\n    try: call()\n    except OSError: pass",
        ENDED,
    ),
}
# Where nothing counts the processes of a user, this is left out: the watch would have to catch up with them.
BOMBS = {
    "fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", {Outcome.TIMEOUT}),
    "fork bomb of sessions": (
        "import os\nwhile True:\n    try:\n        if os.fork(): os.setsid()\n    except OSError: pass",
        {Outcome.TIMEOUT, Outcome.FAILED},
    ),
    "subprocess bomb": (
        "import subprocess, sys\nwhile True:\n    try: subprocess.Popen([sys.executable, __file__])\n"
        "    except OSError: pass",
        {Outcome.TIMEOUT, Outcome.OUTPUT},
    ),
    "kill everybody": ("import os\nos.kill(-1, 9)", ENDED),
    "kill everybody by number": (
        "import os\nfor pid in range(1, 5000):\n    if pid != os.getpid():\n        for n in (19, 9):\n"
        "            try: os.kill(pid, n)\n            except OSError: pass\nprint('done')",
        {Outcome.FINISHED},
    ),
    "kill the parent": ("import os\nos.kill(os.getppid(), 9)\nos.killpg(0, 0)", ENDED),
    "stop the parent": ("import os\nos.kill(os.getppid(), 19)", ENDED),
    "a signal by way of a pipe": (
        "import fcntl, os, signal\nr, w = os.pipe()\ntry:\n    fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\n"
        "    fcntl.fcntl(r, 10, 9)\n    fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\n    os.write(w, b'x')\n"
        "except OSError: pass",
        ENDED,
    ),
}


def limits(allowed: set[Outcome]) -> Limits:
    """Time for the slowest machine, where a program is to end by itself."""
    return SMALL if Outcome.TIMEOUT in allowed else PATIENT


def my_supervisors() -> set[int]:
    found = set()
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"supervisor" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return found


def leftovers(supervisors: set[int]) -> list[str]:
    """Command lines of programs of these supervisors that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if any(f"supervisor={pid}" in words for pid in supervisors):
                found.append(" ".join(words))
    return found


@pytest.fixture(scope="module")
def executions():
    found = {}

    def of(tier: str) -> dict:
        if tier not in found:
            programs = LIMITS if tier == "bare" else LIMITS | BOMBS
            jobs = [Program(text, "", limits(allowed)) for text, allowed in programs.values()]
            found[tier] = dict(zip(programs, run_many(jobs, workers=6), strict=True))
            assert leftovers(my_supervisors()) == []
        return found[tier]

    return of


# The strongest and the weakest here; what lies between in the long run.
SLOW_TIERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("landlock", "seccomp")]
TIERS = ["namespaces", "bare", *SLOW_TIERS]


@pytest.mark.parametrize("tier_name", TIERS, indirect=True)
@pytest.mark.parametrize("name", LIMITS | BOMBS)
def test_limits(tier, executions, name):
    if tier == "bare" and name in BOMBS:
        pytest.skip("nothing holds it back here")
    execution = executions(tier)[name]
    assert execution.outcome in (LIMITS | BOMBS)[name][1], execution
    assert execution.wall_seconds < limits((LIMITS | BOMBS)[name][1]).wall_seconds + 30  # a busy machine
    assert len(execution.stdout) <= SMALL.output_bytes and len(execution.stderr) <= SMALL.output_bytes


# What a program says it has got hold of begins with GOT.
REACHES = {
    "reads a file": "print('GOT', open({secret!r}).read())",
    "reads by a link": "import os\nos.symlink({secret!r}, 'x')\nprint('GOT', open('x').read())",
    "reads by a hard link": "import os\nos.link({secret!r}, 'x')\nprint('GOT', open('x').read())",
    "reads by a relative path": "print('GOT', open('../' * 30 + {secret!r}).read())",
    "lists folders": "import os\nprint('GOT', os.listdir({folder!r}))",
    "reads accounts": "print('GOT', open('/etc/passwd').read(), open('/etc/shadow').read())",
    "reads the home folder": (
        "import glob, sys\nnames = glob.glob({home!r} + '/*') + glob.glob({home!r} + '/.*')\n"
        "print(['GOT' + name for name in names if not sys.executable.startswith(name)])"
    ),
    "sees its environment": "import os\nprint('GOT' if 'token' in str(os.environ).lower() else '', dict(os.environ))",
    "sees others' environment": (
        "import glob\nfor path in glob.glob('/proc/[0-9]*/environ'):\n    try: text = open(path, 'rb').read()\n"
        "    except OSError: continue\n    if b'TOKEN' in text: print('GOT', text)"
    ),
    "sees others' commands": (
        "import glob\nfor path in glob.glob('/proc/[0-9]*/cmdline'):\n    try: text = open(path, 'rb').read()\n"
        "    except OSError: continue\n    if b'pytest' in text: print('GOT', text)"
    ),
    "memory of the parent": "import os\nprint('GOT', open('/proc/%d/mem' % os.getppid(), 'rb'))",
    "memory of its own, by file": "print('GOT', open('/proc/self/mem', 'r+b'))",
    "descriptors by name": "import os\nprint('GOT', os.listdir('/proc/self/fd'))",
    "descriptors": (
        "import os\nfor n in range(3, 256):\n    try: os.fstat(n)\n    except OSError: continue\n    print('GOT', n)"
    ),
    "traces its parent": (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "print('GOT' if libc.ptrace(16, os.getppid(), 0, 0) == 0 else ctypes.get_errno())"
    ),
    "writes a file": "open({secret!r}, 'w').write('x'); print('GOT')",
    "appends to a file": "open({secret!r}, 'a').write('x'); print('GOT')",
    "makes a file": "open({folder!r} + '/new', 'w'); print('GOT')",
    "deletes a file": "import os\nos.remove({secret!r}); print('GOT')",
    "deletes a folder": "import shutil\nshutil.rmtree({folder!r}); print('GOT')",
    "moves a file": "import os\nos.rename({secret!r}, 'x'); print('GOT')",
    "truncates a file": "import os\nos.truncate({secret!r}, 0); print('GOT')",
    "changes a mode": "import os\nos.chmod({secret!r}, 0o777); print('GOT')",
    "changes an owner": "import os\nos.chown({secret!r}, os.getuid(), os.getgid()); print('GOT')",
    "changes times": "import os\nos.utime({secret!r}, (0, 0)); print('GOT')",
    "writes into /tmp": "open({shared!r}, 'w').write('x'); print('GOT')",
    "writes into the library": "import os\nopen(os.__file__, 'a'); print('GOT')",
    "writes a module": "import os\nopen(os.path.dirname(os.__file__) + '/new.py', 'w'); print('GOT')",
    "changes the interpreter": "import sys\nopen(sys.executable, 'ab'); print('GOT')",
    "changes a library's mode": "import os\nos.chmod(os.__file__, 0o777); print('GOT')",
    "sees other packages": "import sys, glob\nsys.path += [{packages!r}]\nimport pytest\nprint('GOT')",
    "runs a shell": "import subprocess\nprint('GOT', subprocess.check_output(['/bin/sh', '-c', 'id']))",
    "os.system": "import os\nprint('GOT' if os.system('true') == 0 else '')",
    "mounts": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "print('GOT' if libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0 else '')"
    ),
    "becomes root": "import os\nos.setuid(0) if os.getuid() else os.setuid(1)\nprint('GOT')",
    "changes its root": "import os\nos.chroot('.'); print('GOT')",
    "new namespaces": "import os\nos.unshare(os.CLONE_NEWUSER); print('GOT')",
    "makes a device": "import os\nos.mknod('x', 0o60666, os.makedev(254, 0)); print('GOT')",
    "tcp": "import socket\nsocket.create_connection(('127.0.0.1', {port}), .5); print('GOT')",
    "tcp, listening": "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print('GOT')",
    "tcp over IPv6": "import socket\nsocket.socket(socket.AF_INET6).connect(('::1', {port})); print('GOT')",
    "udp": (
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))\n"
        "print('GOT')"
    ),
    "raw": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('GOT')",
    "packets": "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('GOT')",
    "netlink": "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('GOT')",
    "unix": "import socket\nsocket.socket(socket.AF_UNIX).connect({unix!r}); print('GOT')",
    "unix without a name": "import socket\nsocket.socket(socket.AF_UNIX).connect({abstract!r}); print('GOT')",
    "unix by a pair": (
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "a.sendto(b'x', {datagram!r}); print('GOT')"
    ),
    "names": "import socket\nprint('GOT', socket.getaddrinfo('example.org', 80))",
    "shared memory": "import ctypes\nprint('GOT' if ctypes.CDLL(None).shmget(1234, 4096, 0o1666) >= 0 else '')",
    "keyring": (
        "import ctypes, platform\nn = 250 if platform.machine() == 'x86_64' else 219\n"
        "print('GOT' if ctypes.CDLL(None).syscall(n, 0, -3, 1) >= 0 else '')"
    ),
    "limits of others": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)); print('GOT')",
    "cores of others": "import os\nos.sched_setaffinity(os.getppid(), {{0}}); print('GOT')",
    "text": "print('GOT', open('/dev/tty'))",
    "disks": "import glob\nprint('GOT' if glob.glob('/dev/[sv]d*') + glob.glob('/dev/mem') else '')",
}
NETWORK = [name for name in REACHES if name.startswith(("tcp", "udp", "raw", "packets", "netlink", "unix"))]


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """What a program would like to reach: files, servers."""
    folder = tmp_path_factory.mktemp("outside")
    secret = folder / "token"
    secret.write_text("hf_TOKEN")
    secret.chmod(0o666)
    folder.chmod(0o777)
    os.utime(secret, (10**9, 10**9))
    received = []
    servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
    unix, abstract, datagram = str(folder / "u"), f"\0qwen-{os.getpid()}", str(folder / "d")
    servers[1].bind(unix)
    servers[2].bind(abstract)
    for server in servers[1:]:
        server.listen()
    servers.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    servers[3].bind(datagram)
    shared = f"/tmp/qwen-{os.getpid()}"
    yield {
        "secret": str(secret),
        "folder": str(folder),
        "home": str(Path.home()),
        "shared": shared,
        "packages": str(Path(pytest.__file__).parents[1]),
        "port": servers[0].getsockname()[1],
        "unix": unix,
        "abstract": abstract,
        "datagram": datagram,
    }
    assert (
        secret.read_text() == "hf_TOKEN" and secret.stat().st_mtime == 10**9 and secret.stat().st_mode & 0o777 == 0o666
    )
    assert sorted(os.listdir(folder)) == ["d", "token", "u"]
    assert not received and not os.path.exists(shared)
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def reached(outside):
    found = {}

    def of(tier: str) -> dict:
        if tier not in found:
            jobs = [Program(text.format(**outside), "", PATIENT) for text in REACHES.values()]
            os.environ["HF_TOKEN"] = os.environ["WANDB_API_KEY"] = "a TOKEN"
            found[tier] = dict(zip(REACHES, run_many(jobs, workers=6), strict=True))
            del os.environ["HF_TOKEN"], os.environ["WANDB_API_KEY"]
        return found[tier]

    return of


@pytest.mark.parametrize("name", REACHES)
def test_reach(tier, reached, name):
    if tier not in ("namespaces", "landlock"):
        pytest.skip("nothing keeps files from a program here")
    execution = reached(tier)[name]
    if tier == "namespaces" and name == "writes into /tmp":
        return  # its own, which is gone: `outside` looks
    assert "GOT" not in execution.stdout and "TOKEN" not in execution.stdout + execution.stderr, execution


def test_network(tier, outside):
    if tier == "bare":
        pytest.skip("nothing keeps the network from a program here")
    for name, execution in zip(NETWORK, run_many(REACHES[name].format(**outside) for name in NETWORK), strict=True):
        assert execution.outcome is Outcome.FAILED and "GOT" not in execution.stdout, (name, execution)


def test_temporary_directory(tier):
    first = run(
        "import os, tempfile\nprint(os.getcwd(), tempfile.gettempdir(), sorted(os.listdir()))\nopen('mine', 'w')"
    )
    assert first.outcome is Outcome.FINISHED, first
    here, temporary, names = first.stdout.split(maxsplit=2)
    assert here == temporary and eval(names) == ["program.py"]
    second = run("import os\nprint(os.path.exists('mine'))")
    assert second.stdout == "False\n"
    assert tier == "namespaces" or not os.path.exists(here)


def test_ends_with_its_supervisor(tier):
    """Whatever ends the supervisor, its boxes end too, and the program gets another."""
    pool._idle.close()  # those that do not work are none to kill
    found = []
    program = "import time\ntime.sleep(20)"
    thread = threading.Thread(target=lambda: found.append(run(program, limits=Limits(wall_seconds=4))))
    thread.start()
    deadline = time.monotonic() + 60
    while not leftovers(supervisors := my_supervisors()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert leftovers(supervisors)
    for pid in supervisors:
        os.kill(pid, 9)
    thread.join(30)
    assert found[0].outcome is Outcome.TIMEOUT
    assert leftovers(supervisors | my_supervisors()) == []


TOGETHER = {
    "of children": "for _ in range(5):\n    if fork() == 0: break\nx = bytearray(b'x') * (90 << 20)\n",
    "that is shared": (
        "import mmap\nfor _ in range(5):\n    if fork() == 0: break\nx = mmap.mmap(-1, 90 << 20)\n"
        "for k in range(0, len(x), 4096): x[k] = 1\n"
    ),
    "of orphans": (
        "for _ in range(5):\n    if fork() == 0:\n        if fork() == 0: os.setsid(); x = bytearray(b'x') * (90 << 20); "
        "time.sleep(1000)\n        os._exit(0)\n"
    ),
}


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("tier_name", ["namespaces", "bare"], indirect=True)
def test_memory_of_all_together(tier, name):
    execution = run(f"{FORK}{TOGETHER[name]}time.sleep(1000)", limits=PATIENT)
    assert execution.outcome is Outcome.MEMORY, execution


def test_what_a_program_puts_in_place_of_its_directory(tier, tmp_path):
    """Its supervisor empties the directory it made, not what a link with that name leads to."""
    precious = tmp_path / "precious"
    precious.write_text("x")
    program = "import os\nhere = os.getcwd()\ntry:\n    os.rename(here, here + '-moved')\n"
    program += f"    os.symlink({str(tmp_path)!r}, here)\nexcept OSError: pass\nprint(here)"
    execution = run(program)
    assert execution.outcome is Outcome.FINISHED and precious.read_text() == "x"
    here = Path(execution.stdout.strip())
    assert tier == "namespaces" or not here.is_symlink()
    with contextlib.suppress(OSError):
        Path(f"{here}-moved").rmdir()


def test_judged_programs_leave_nothing(tier):
    body = (
        "    import os, time\n    try:\n        if os.fork() == 0:\n            os.setsid(); time.sleep(1000)\n"
        "    except OSError: pass\n    return 1\n"
    )
    assert run_tests("def f():\n", body, "def check(f):\n    assert f() == 1\n", "f").passed
    assert leftovers(my_supervisors()) == []
