"""What runs inside the box beside the program under test: loads it, and calls its functions as the tester asks.

Everything here is in the program's hands as soon as it is loaded. Nothing depends on it: the tests, and what they
expect, are in another process, and all that a program could forge here is what its functions return.

Started as a file beside `wire`, without the package: it reads requests from descriptor 3 and answers on 4.
"""

# An import of pathlib is half of its start.
# ruff: noqa: PTH100, PTH120

from __future__ import annotations

import builtins
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
import wire  # noqa: E402 (a neighbour, found by the line above)

sys.path.remove(FOLDER)

INCOMING, OUTGOING = 3, 4
OPERATIONS = {
    "bool": bool,
    "delitem": lambda thing, key: thing.__delitem__(key),
    "float": float,
    "getattr": getattr,
    "getitem": lambda thing, key: thing[key],
    "int": int,
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
        self.things = []  # what the tester holds handles of
        self.numbers = {}  # their numbers, by id()
        self.shared = set()  # classes that the tester has too, by name

    def serve(self):
        """Answer requests until one of them is the tester's reply to a callback, and return that."""
        while True:
            data = wire.receive(INCOMING)
            if data is None:
                os._exit(0)
            kind, *rest = wire.Decoder(data, self.own, self.make).value()
            if kind == "returned":
                return rest[0]
            if kind == "raised":
                raise wire.EXCEPTIONS.get(rest[0], Exception)(rest[1])
            try:
                answer = wire.encode(("returned", *self.answer(kind, rest)), self.handle)
                wire.send(OUTGOING, answer)
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
            before = self.plain(arguments)
            value = function(*arguments, **named)
            if value is None and before is not None and self.plain(arguments) != before:
                return None, arguments  # it works in place
            return (value,)
        name, thing, *operands = rest
        return (OPERATIONS[name](thing, *operands),)

    def load(self, source):
        sys.modules["solution"] = self.module
        sys.argv = ["solution.py"]
        exec(compile(source, "solution.py", "exec"), vars(self.module))

    def plain(self, arguments):
        """Their encoding, None where a change of theirs could not be told."""
        try:
            return wire.encode(arguments, self.refuse)
        except (wire.Unplain, RecursionError):
            return None

    def refuse(self, thing):
        if type(thing).__name__ in self.shared:
            return self.handle(thing)
        raise wire.Unplain("a handle")

    def send_error(self, error):
        names = [kind.__name__ for kind in type(error).__mro__]
        try:
            text = str(error)[:500]
        except Exception:
            text = ""
        wire.send(OUTGOING, wire.encode(("raised", names, text)))

    def handle(self, thing):
        kind = type(thing)
        if kind.__name__ in self.shared and isinstance(getattr(thing, "__dict__", None), dict):
            return wire.record(kind.__name__, vars(thing), self.handle)
        number = self.numbers.get(id(thing))
        if number is None:
            number = self.numbers[id(thing)] = len(self.things)
            self.things.append(thing)
        return wire.named(b"H", number, kind.__name__)

    def own(self, tag, number, name):
        return self.things[number] if tag == b"G" else self.callback(number)

    def callback(self, number):
        def call(*arguments, **named):
            wire.send(OUTGOING, wire.encode(("callback", number, arguments, named), self.handle))
            return self.serve()

        return call

    def make(self, name, members):
        kind = vars(self.module)[name]
        thing = kind.__new__(kind)
        vars(thing).update(members)
        return thing


if __name__ == "__main__":
    builtins.exit = builtins.quit = sys.exit  # as with the site module, which costs a third of the start
    wire.send(OUTGOING, wire.encode(("ready",)))
    Guest().serve()
