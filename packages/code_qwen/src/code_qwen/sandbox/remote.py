"""The tester's view of the program under test: proxies of its objects, and the channel that serves them."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any, Never

from code_qwen.sandbox import wire
from code_qwen.sandbox.write_back import write_back


class ProgramEnded(BaseException):
    """It ended or sent no valid answer. Not an Exception, so that tests do not catch it."""


class Remote:
    """A proxy of an object of the program.

    Comparison and arithmetic with values of the tests are refused: the program would see the expected value and decide
    the answer. Two of its objects may be compared: it could have returned any two plain values.
    """

    __slots__ = ("_channel", "_kind", "_number")

    def __init__(self, channel: Channel, number: int, kind: str):
        for name, value in (("_channel", channel), ("_number", number), ("_kind", kind)):
            object.__setattr__(self, name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._channel.call(self, arguments, named)

    def _ask(self, operation: str, *operands: Any) -> Any:
        return self._channel.ask("operation", operation, self, *operands)

    def _ask_for(self, kind: type, operation: str) -> Any:
        value = self._ask(operation)
        if type(value) is not kind:
            raise TypeError(f"{operation}() of {self._kind} gave {type(value).__name__}")
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and name not in ("__name__", "__qualname__", "__doc__"):
            raise AttributeError(name)
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        self._ask("delitem", key)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._ask("iter")
        if not isinstance(iterator, Remote):
            raise TypeError(f"{self._kind} gave no iterator")
        while True:
            try:
                item = iterator._ask("next")
            except StopIteration:
                return
            yield item

    def __next__(self) -> Any:
        return self._ask("next")

    def __contains__(self, item: Any) -> bool:
        return any(one is item or one == item for one in self)

    def __instancecheck__(self, thing: Any) -> bool:
        return type(thing) is Remote and self._channel.ask("operation", "isinstance", thing, self) is True

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return _ITERATORS.get(self._kind, Remote)

    def __len__(self) -> int:
        return self._ask_for(int, "len")

    def __bool__(self) -> bool:
        return self._ask_for(bool, "bool")

    def __int__(self) -> int:
        return self._ask_for(int, "int")

    def __float__(self) -> float:
        return self._ask_for(float, "float")

    def __str__(self) -> str:
        return self._ask_for(str, "str")

    def __repr__(self) -> str:
        return self._ask_for(str, "repr")

    def _refuse(self, *_: Any) -> Any:
        raise TypeError(f"an object of the program's own type {self._kind} cannot be compared or computed with")

    __abs__ = __neg__ = __round__ = _refuse
    __hash__ = object.__hash__


def _operator(name: str) -> Any:
    def operate(self: Remote, other: Any) -> Any:
        return self._ask(name, other) if type(other) is Remote else self._refuse()

    return operate


for _name in wire.OPERATORS:
    setattr(Remote, f"__{_name.strip('_')}__", _operator(_name))
    if _name not in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(Remote, f"__r{_name.strip('_')}__", Remote._refuse)
# A test's `isinstance` may ask for these.
_ITERATORS = {kind.__name__: kind for kind in (types.GeneratorType, map, filter, zip, enumerate, reversed)}


class Channel:
    def __init__(self, incoming: int, outgoing: int):
        self._incoming = incoming
        self._outgoing = outgoing
        self._functions: list[Any] = []  # that the program has received
        self._remotes: dict[int, Remote] = {}
        self.writes_back: Callable[[], bool] = bool  # changed arguments, although the program returned a value
        self.shared: dict[str, type] = {}  # classes of the prompt, which both sides have
        self.has_ended = False

    def wait_ready(self) -> None:
        if self._receive() != ["ready"]:
            self._end("it does not start")

    def call(self, function: Remote, arguments: tuple, named: dict) -> Any:
        try:
            value, *changed = self._exchange("call", function, arguments, named)
        except StopIteration as error:  # would silently end a map() of the tests
            raise RuntimeError(f"StopIteration: {error}") from None
        if changed and (value is None or self.writes_back()):
            write_back([arguments, named], changed)
        return value

    def ask(self, *request: Any) -> Any:
        try:
            return self._exchange(*request)[0]
        except StopIteration as error:
            if request[1] == "next":
                raise
            raise RuntimeError(f"StopIteration: {error}") from None

    def _exchange(self, *request: Any) -> list:
        self._send(request)
        while True:
            match self._receive():
                case ["returned", value, *rest]:
                    return [value, *rest]
                case ["raised", list(names), str(text), tuple(arguments), dict(members)]:
                    raise self._exception([str(name)[:100] for name in names[:100]], text, arguments, members)
                case ["callback", int(number), tuple(arguments), dict(named)]:
                    self._call_back(number, arguments, named)
                case _:
                    self._end("it sent no answer")

    def _call_back(self, number: int, arguments: tuple, named: dict) -> None:
        if not 0 <= number < len(self._functions):
            self._end("it called what it was not given")
        try:
            value = self._functions[number](*arguments, **named)
        except Exception as error:
            name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in wire.EXCEPTIONS), "")
            is_plain = all(type(value) in (str, int) for value in error.args)
            self._send(("raised", name, error.args if is_plain else (str(error),)))
        else:
            self._send(("returned", value))

    def _send(self, request: tuple) -> None:
        if self.has_ended:
            raise ProgramEnded
        try:
            data = wire.encode(request, self._handle, self._is_shared)
        except wire.Unplain as error:  # not a TypeError that the tests may expect of the program
            self._end(f"TypeError: {error}")
        try:
            wire.send(self._outgoing, data)
        except OSError:
            self._end("")

    def _receive(self) -> list:
        try:
            data = wire.receive(self._incoming)
            if data is not None:
                message = wire.Decoder(data, self._object, self.shared.__getitem__).value()
                if type(message) is tuple:
                    return list(message)
        except wire.DecodeError:
            pass
        return self._end("")

    def _end(self, why: str) -> Never:
        self.has_ended = True
        raise ProgramEnded(why[:300])

    def _exception(self, names: list[str], text: str, arguments: tuple, members: dict) -> Exception:
        """The first of its classes that exists here too, with the same text if possible."""
        found = None
        for name in names:
            kind = self.shared.get(name, wire.EXCEPTIONS.get(name))
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                continue
            for values in (arguments, (text,)):
                with contextlib.suppress(Exception):
                    error = kind.__new__(kind, *values)
                    if name not in self.shared:
                        error.__init__(*values)  # type: ignore[misc]
                    vars(error).update(members, theirs=names[0])
                    found = found or error
                    words = str(error)
                    if words[: len(text)] == text or (words and text.startswith(words)):
                        return error
        return found or self._end(f"it ended with {names[0] if names else 'an exception'} before its tests did")

    def _is_shared(self, value: Any) -> bool:
        return self.shared.get(type(value).__name__) is type(value)

    def _handle(self, value: Any) -> bytes:
        if type(value) is Remote:
            return wire.encode_handle(b"G", value._number, "")
        is_iterator = hasattr(type(value), "__next__")
        if not is_iterator and not callable(value):
            raise wire.Unplain(f"the tests give the program a {type(value).__name__}, which cannot cross")
        self._functions.append(value.__next__ if is_iterator else value)
        return wire.encode_handle(b"H", len(self._functions) - 1, "iterator" if is_iterator else "")

    def _object(self, tag: bytes, number: int, kind: str) -> Any:
        if tag != b"H":
            raise wire.DecodeError("a handle of ours")
        return self._remotes.setdefault(number, Remote(self, number, kind))
