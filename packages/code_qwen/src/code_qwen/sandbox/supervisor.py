"""The trusted process that runs the boxes: a fresh interpreter with one thread and an empty environment.

Takes one request at a time from standard input, answers on standard output; a message is its length in four bytes, then
JSON. Watches and ends the boxes and removes what they leave. If its parent dies, it ends its boxes and itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path

from code_qwen.sandbox import box, folders, kernel, probe, tester, wire
from code_qwen.sandbox.box import Box, ExitStatus, Mechanisms
from code_qwen.sandbox.outcome import Limits, Outcome, Submission

START_SECONDS = 20.0  # for an interpreter on a busy machine, before the program's own time
_WATCH_SECONDS = 0.1
_REAP_SECONDS = 0.2  # for a dying program, so that its end is known
_SOURCES = {name: Path(__file__).with_name(f"{name}.py") for name in ("guest", "wire")}


class Orphaned(Exception):
    """The parent process is gone."""


class Supervisor:
    def __init__(self, mechanisms: Mechanisms):
        if mechanisms.user is not None and not mechanisms.namespaces:
            # Own user ids: processes are counted apart and cannot signal one another.
            mechanisms = dataclasses.replace(mechanisms, user=mechanisms.user + os.getpid() % 4000)
        self.mechanisms = mechanisms
        self.null = os.open(os.devnull, os.O_RDWR)
        # Compiled once: a box has no lasting place for compiled files.
        self.guest = {f"{name}.pyc": _compiled(path) for name, path in _SOURCES.items()}
        if mechanisms.namespaces:
            from code_qwen.sandbox import namespaces

            namespaces.build_root()
        else:
            kernel.hide_memory()
            folders.remove_stale()

    def run(self, program: str, stdin: str, limits: Limits) -> dict:
        source = os.memfd_create("stdin")
        with os.fdopen(source, "wb", closefd=False) as file:
            file.write(stdin.encode("utf-8", "surrogatepass"))
        os.lseek(source, 0, os.SEEK_SET)
        pipes = [os.pipe(), os.pipe()]
        began = time.monotonic()
        files = {"program.py": program.encode("utf-8", "surrogatepass")}
        running = Box(self.mechanisms, limits, [source, *(write for _, write in pipes)], _python("program.py"), files)
        for descriptor in (source, *(write for _, write in pipes)):
            os.close(descriptor)
        watch = Watch(limits, [running])
        written = [bytearray(), bytearray()]
        readers = {read: text for (read, _), text in zip(pipes, written, strict=True)}
        why: Outcome | None = None
        try:
            while why is None and not watch.ended(running):
                ready, why = watch.wait([running.descriptor, *readers])
                why = _read(ready, readers, limits, why)
            ending = running.end()
        finally:
            box.close([running])
        while readers and why is None:
            why = _read(list(readers), readers, limits, why)
        for read, _ in pipes:
            os.close(read)
        outcome, reason = _explained(ending, limits, why)
        stdout, stderr = (bytes(text[: int(limits.output_bytes)]).decode("utf-8", "replace") for text in written)
        if outcome is Outcome.FAILED and stderr.rstrip().rpartition("\n")[2].startswith("MemoryError"):
            outcome, reason = Outcome.MEMORY, "out of memory"
        return {
            "outcome": outcome,
            "exit_code": ending.exit_code if why is None else None,
            "signal": ending.signal if why is None else signal.SIGKILL,
            "stdout": stdout,
            "stderr": stderr,
            "wall_seconds": time.monotonic() - began,
            "reason": reason,
        }

    def run_tests(self, submission: Submission) -> dict:
        limits = Limits(cpu_seconds=submission.timeout, wall_seconds=submission.timeout)
        to_guest, to_tester, reports = os.pipe(), os.pipe(), os.pipe()
        null = self.null
        began = time.monotonic()
        guest = Box(
            self.mechanisms, limits, [null, null, null, to_guest[0], to_tester[1]], _python("guest.pyc"), self.guest
        )
        os.close(to_guest[0])
        os.close(to_tester[1])
        boxes = [guest]
        watch = Watch(limits, boxes)
        watch.deadline = began + START_SECONDS
        received = bytearray()
        why: Outcome | None = None
        try:
            boxes.append(
                Box(
                    self.mechanisms,
                    limits,
                    [null, null, null, to_tester[0], to_guest[1], reports[1]],
                    _test(submission),
                )
            )
            for descriptor in (to_tester[0], to_guest[1], reports[1]):
                os.close(descriptor)
            lines: list[list[str]] = []
            while why is None and lines[-1:] in ([], [[tester.STARTED]]):
                ready, why = watch.wait([reports[0]])
                if reports[0] in ready:
                    data = os.read(reports[0], 1 << 16)
                    if not data:
                        break
                    received += data
                    lines = [json.loads(line) for line in received.split(b"\n")[:-1]]
                    if lines == [[tester.STARTED]]:
                        began = time.monotonic()
                        watch.deadline = began + limits.wall_seconds
            seconds = time.monotonic() - began
            outcome, reason = self._verdict(lines, why, boxes, limits)
        finally:
            box.close(boxes)
            os.close(reports[0])
        return {"outcome": outcome, "reason": reason, "wall_seconds": seconds}

    def _verdict(self, lines: list, why: Outcome | None, boxes: list[Box], limits: Limits) -> tuple[Outcome, str]:
        guest, tests = boxes
        if why is not None:
            if why is Outcome.TIMEOUT and not lines:
                return Outcome.CRASH, f"no interpreter started in {START_SECONDS:g} seconds"
            return _explained(guest.end(), limits, why)
        if lines[-1:] in ([], [[tester.STARTED]]):
            ending = tests.end(_REAP_SECONDS)
            outcome, reason = _explained(ending, limits, None)
            return (Outcome.CRASH if outcome is Outcome.FINISHED else outcome), f"the tests: {reason}"
        outcome, reason = lines[-1]
        if outcome != tester.PROGRAM_ENDED:
            return Outcome(outcome), reason
        ending = guest.end(_REAP_SECONDS)
        outcome, how = _explained(ending, limits, None)
        was_killed = ending.signal == signal.SIGKILL and (
            reason or not lines[:-1]
        )  # killed by `end` above, because it ended slowly
        if outcome in (Outcome.FINISHED, Outcome.FAILED) or was_killed:
            how = reason or f"it ended (exit code {ending.exit_code}) before its tests did"
            outcome = Outcome.FAILED
        return outcome, how


class Watch:
    def __init__(self, limits: Limits, boxes: list[Box]):
        self.deadline = time.monotonic() + limits.wall_seconds
        self._limits = limits
        self._boxes = boxes
        self._next_measurement = time.monotonic() + _WATCH_SECONDS

    def wait(self, descriptors: list[int]) -> tuple[list[int], Outcome | None]:
        """The ready descriptors, and the exceeded limit if any."""
        now = time.monotonic()
        poll = select.poll()
        for descriptor in (0, *descriptors):
            poll.register(descriptor, select.POLLIN if descriptor else select.POLLHUP)
        left = max(0.0, min(self.deadline, self._next_measurement) - now)
        found = dict(poll.poll(left * 1000 + 1 if left else 0))
        if found.get(0, 0) & (select.POLLHUP | select.POLLERR):
            raise Orphaned
        now = time.monotonic()
        if now >= self.deadline:
            return list(found), Outcome.TIMEOUT
        if now >= self._next_measurement:
            for processes, resident in box.usage(self._boxes):
                if resident > self._limits.memory_bytes:
                    return list(found), Outcome.MEMORY
                if processes > self._limits.processes + 1:
                    return list(found), Outcome.CRASH
            self._next_measurement = time.monotonic() + _WATCH_SECONDS
        return list(found), None

    def ended(self, one: Box) -> bool:
        return bool(select.select([one.descriptor], [], [], 0)[0])


def _read(ready: list[int], readers: dict[int, bytearray], limits: Limits, why: Outcome | None) -> Outcome | None:
    for read in ready:
        if read not in readers:
            continue
        data = os.read(read, 1 << 16)
        if not data:
            del readers[read]
            continue
        readers[read] += data
        if len(readers[read]) > limits.output_bytes:
            return Outcome.OUTPUT
    return why


def _explained(ending: ExitStatus, limits: Limits, why: Outcome | None) -> tuple[Outcome, str]:
    if why is Outcome.TIMEOUT:
        return why, f"more than {limits.wall_seconds:g} seconds"
    if why is Outcome.MEMORY:
        return why, f"more than {limits.memory_bytes >> 20} MB"
    if why is Outcome.OUTPUT:
        return why, f"more than {limits.output_bytes} bytes of output"
    if why is Outcome.CRASH:
        return why, f"more than {limits.processes} processes"
    if ending.exit_code == 0:
        return Outcome.FINISHED, "exit code 0"
    if ending.exit_code is not None:
        return Outcome.FAILED, f"exit code {ending.exit_code}"
    if ending.signal == signal.SIGXCPU or (
        ending.signal == signal.SIGKILL and ending.cpu_seconds >= limits.cpu_seconds
    ):
        return Outcome.TIMEOUT, f"more than {limits.cpu_seconds:g} seconds of CPU time"
    if ending.signal is not None:
        known = {one.value: one.name for one in signal.Signals}
        return Outcome.CRASH, f"killed by {known.get(ending.signal, f'signal {ending.signal}')}"
    return Outcome.CRASH, "it vanished"


def _python(file: str):
    flags = ["-I", "-B"] if file == "program.py" else ["-I", "-S", "-B"]
    flags += ["-X", f"supervisor={os.getpid()}"]

    def work(temporary: str) -> None:
        os.execve(sys.executable, [sys.executable, *flags, f"{temporary}/{file}"], box.environment(temporary))

    return work


def _test(submission: Submission):
    def work(temporary: str) -> None:
        kernel.hide_memory()
        tester.main(submission, incoming=3, outgoing=4, report=5)

    return work


def _compiled(path: Path) -> bytes:
    import importlib._bootstrap_external as loading

    return bytes(loading._code_to_timestamp_pyc(compile(path.read_bytes(), path.name, "exec")))  # type: ignore[attr-defined]


def main() -> int:
    answers = os.dup(1)
    os.dup2(2, 1)
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and closes the socket
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an inherited SIG_IGN would break wait()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    with contextlib.suppress(OSError):
        kernel.adopt_orphans()
    try:
        first = receive()
        if first is None:
            return 0
        if "probe" in first:
            send(answers, probe.probe())
            return 0
        supervisor = Supervisor(Mechanisms(**first))
        send(answers, {"ready": True})
        while (message := receive()) is not None:
            kind = message.pop("kind")
            if kind == "run":
                answer = supervisor.run(message["text"], message["stdin"], Limits(**message["limits"]))
            else:
                answer = supervisor.run_tests(Submission(**message))
            send(answers, answer)
    except (Orphaned, ConnectionError):
        pass
    return 0


def send(descriptor: int, message: dict) -> None:
    data = json.dumps(message).encode()
    wire.write_all(descriptor, struct.pack("=I", len(data)) + data)


def receive() -> dict | None:
    head = wire.read_exactly(0, 4)
    return json.loads(wire.read_exactly(0, struct.unpack("=I", head)[0])) if len(head) == 4 else None


if __name__ == "__main__":
    sys.exit(main())
