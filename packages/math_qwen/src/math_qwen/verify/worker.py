"""The program of one worker: pairs come on standard input, verdicts leave on standard output.

A message is a length in four bytes, big-endian, and JSON. In: [number, gold, prediction, seconds, bare]. Out: ["ready"]
first, then [number, outcome, reason], with number -1 if the grading process died. The kernel ends a pair at its time or
memory limit, also inside a long C call and after the parent's death.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
import warnings

from math_qwen.verify.comparison.values import Prover
from math_qwen.verify.grader import grade_answer, grade_response
from math_qwen.verify.limits import TooLarge, Unparsable

MEMORY = 1 << 30  # bytes of address space
_source, _sink = 0, 1


def main() -> int:
    _limit()
    global _source, _sink
    _source, _sink = os.dup(0), os.dup(1)
    # Prints of libraries must not mix with the messages.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Control-C: it closes the pipe
    warnings.simplefilter("ignore")
    from math_qwen.verify.comparison.symbolic import Sympy  # within the limits

    prover = Sympy()
    send(["ready"])
    while True:
        # A child grades: its death costs a fork, not a start of sympy.
        child = os.fork()
        if child == 0:
            os._exit(_serve(prover))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return 0
        if code == -signal.SIGALRM:
            send([-1, "timeout", "out of time"])
        elif code < 0:
            send([-1, "crash", "out of stack" if code == -signal.SIGSEGV else f"killed by signal {-code}"])


def _serve(prover: Prover) -> int:
    """Until the input ends (0), or a crash may have spoilt sympy's caches (1)."""
    while (message := receive()) is not None:
        number, gold, prediction, seconds, is_bare = message
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            verdict = (grade_answer if is_bare else grade_response)(gold, prediction, prover)
            answer = [verdict.outcome.value, verdict.reason]
        except MemoryError:
            answer = ["crash", "out of memory"]
        except RecursionError:
            answer = ["crash", "out of stack"]
        except (TooLarge, Unparsable) as error:
            answer = ["unparsable", str(error)[:100]]
        except Exception as error:  # a fault in sympy
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
    """Never more than `count` bytes: the next message must survive this process."""
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
