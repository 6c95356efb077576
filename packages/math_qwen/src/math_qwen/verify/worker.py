"""The program of one worker: reads pairs from standard input, writes verdicts to standard output.

Each message is four bytes of length, big-endian, and that much JSON: in, [number, gold, prediction, seconds, bare];
out, [number, outcome, reason], with the number -1 where the judging process died. The first message out is ["ready"].
The kernel ends the process when a pair's time is up, even inside a long C call and even if the parent is gone, and
when it asks for more memory or processor time than it may have.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys

MEMORY = 1 << 30  # bytes of address space
_source, _sink = 0, 1


def main() -> int:
    _limit()
    global _source, _sink
    _source, _sink = os.dup(0), os.dup(1)
    # Nothing that a library prints may mix with the messages.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C is the parent's to handle: it closes the pipe
    import warnings

    warnings.simplefilter("ignore")
    from math_qwen.verify.bounds import TooLarge, Unreadable
    from math_qwen.verify.judge import bare, judge
    from math_qwen.verify.proof import Sympy

    prover = Sympy()
    send(["ready"])
    while True:
        # The child judges; what kills it costs a fork, not another start of sympy.
        child = os.fork()
        if child == 0:
            os._exit(_serve(prover, judge, bare, (TooLarge, Unreadable)))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return 0
        if code == -signal.SIGALRM:
            send([-1, "timeout", "out of time"])
        elif code < 0:
            send([-1, "crash", "out of stack" if code == -signal.SIGSEGV else f"killed by signal {-code}"])


def _serve(prover, judge, bare, refusals) -> int:
    """Judge pairs until the input ends (0) or one of them may have left sympy's caches in disorder (1)."""
    while (message := receive()) is not None:
        number, gold, prediction, seconds, is_bare = message
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            verdict = (bare if is_bare else judge)(gold, prediction, prover)
            answer = [verdict.outcome.value, verdict.reason]
        except MemoryError:
            answer = ["crash", "out of memory"]
        except RecursionError:
            answer = ["crash", "out of stack"]
        except refusals as error:
            answer = ["unparsable", str(error)[:100]]
        except Exception as error:  # a fault of sympy's
            answer = ["crash", f"{type(error).__name__} in sympy"]
        signal.setitimer(signal.ITIMER_REAL, 0)
        send([number, *answer])
        if answer[0] == "crash":
            return 1
    return 0


def send(message: list) -> None:
    data = json.dumps(message).encode()
    data = struct.pack(">I", len(data)) + data
    while data:
        data = data[os.write(_sink, data) :]


def receive() -> list | None:
    head = _read(4)
    return json.loads(_read(struct.unpack(">I", head)[0])) if len(head) == 4 else None


def _read(count: int) -> bytes:
    """Exactly so many bytes, so that nothing of the next message is lost with this process; fewer at the end."""
    data = b""
    while len(data) < count and (more := os.read(_source, count - len(data))):
        data += more
    return data


def _limit() -> None:
    for kind, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    sys.exit(main())
