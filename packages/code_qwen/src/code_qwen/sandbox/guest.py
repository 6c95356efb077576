"""Runs in the box with the program under test: loads it and calls its functions as the tester asks.

Once loaded, the program controls this code. Nothing depends on it: tests and expected values are in another process,
and a program can forge only what its functions return anyway.

Started as a file next to `wire`, without the package. Requests: descriptor 3; answers: 4.
"""

# Importing pathlib takes half of the start.
# ruff: noqa: PTH100, PTH120

from __future__ import annotations

import _operator
import _thread
import builtins
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
import wire  # noqa: E402 (a neighbour, found by the line above)

sys.path.remove(FOLDER)

INCOMING, OUTGOING = 3, 4
OPERATIONS = {
    **{name: getattr(_operator, name) for name in wire.OPERATORS},
    "bool": bool,
    "delitem": lambda thing, key: thing.__delitem__(key),
    "float": float,
    "getattr": getattr,
    "getitem": lambda thing, key: thing[key],
    "int": int,
    "isinstance": isinstance,
    "iter": iter,
    "len": len,
    "next": next,
    "repr": repr,
    "setattr": setattr,
    "setitem": lambda thing, key, value: thing.__setitem__(key, value),
    "str": str,
}


class Guest:
    def __init__(self):
        self.module = type(sys)("solution")
        self.things = []
        self.numbers = {}  # id() → index in `things`
        self.shared = set()
        self.calling = _thread.RLock()  # the program's threads may call the tester

    def serve(self):
        """Returns at the tester's reply to a callback, with its value."""
        while True:
            data = wire.receive(INCOMING)
            if data is None:
                os._exit(0)
            kind, *rest = wire.Decoder(data, self.own, vars(self.module).__getitem__).value()
            if kind == "returned":
                return rest[0]
            if kind == "raised":
                raise wire.EXCEPTIONS.get(rest[0], Exception)(*rest[1])
            try:
                wire.send(OUTGOING, self.encode(("returned", *self.answer(kind, rest))))
            except (Exception, SystemExit, KeyboardInterrupt, GeneratorExit) as error:
                self.send_error(error)

    def answer(self, kind, rest):
        if kind == "load":
            source, shared = rest
            self.load(source)
            self.shared = set(shared)
            return (None,)
        if kind == "global":
            return (vars(self.module)[rest[0]],)
        if kind == "call":
            function, arguments, named = rest
            before = self.plain(rest[1:])
            value = function(*arguments, **named)
            if before is not None and self.plain(rest[1:]) not in (None, before):
                return value, arguments, named
            return (value,)
        name, thing, *operands = rest
        return (OPERATIONS[name](thing, *operands),)

    def load(self, source):
        sys.modules["solution"] = self.module
        sys.argv = ["solution.py"]
        exec(compile(source, "solution.py", "exec", dont_inherit=True), vars(self.module))

    def encode(self, value):
        return wire.encode(value, self.handle, self.is_shared)

    def is_shared(self, thing):
        return type(thing).__name__ in self.shared

    def plain(self, arguments):
        """The encoding, to detect a change; None if there is none."""
        try:
            return self.encode(arguments)
        except (wire.Unplain, RecursionError):
            return None

    def send_error(self, error):
        names = [kind.__name__[:100] for kind in type(error).__mro__]
        try:
            text = str(error)[:500]
        except Exception:
            text = ""
        try:
            message = wire.encode(("raised", names, text, error.args, vars(error)))
        except wire.Unplain:
            message = b""
        if not 0 < len(message) < 1 << 16:
            message = wire.encode(("raised", names, text, (text,), {}))
        wire.send(OUTGOING, message)

    def handle(self, thing):
        kind = type(thing)
        number = self.numbers.get(id(thing))
        if number is None:
            number = self.numbers[id(thing)] = len(self.things)
            self.things.append(thing)
        return wire.encode_handle(b"H", number, kind.__name__)

    def own(self, tag, number, name):
        if tag == b"G":
            return self.things[number]
        return Iterator(self.callback(number)) if name == "iterator" else self.callback(number)

    def callback(self, number):
        def call(*arguments, **named):
            message = self.encode(("callback", number, arguments, named))
            with self.calling:
                wire.send(OUTGOING, message)
                return self.serve()

        return call


class Iterator:
    def __init__(self, following):
        self.following = following

    def __iter__(self):
        return self

    def __next__(self):
        return self.following()


if __name__ == "__main__":
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # the site module does this, but takes a third of the start
    wire.send(OUTGOING, wire.encode(("ready",)))
    Guest().serve()
