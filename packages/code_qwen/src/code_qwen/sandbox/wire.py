"""Values that cross between two processes without trust.

Decoding builds exact types of the standard library and runs nothing, so no `__eq__`, subclass or pickle of the sender
arrives; memory is in proportion to the message. Other values (functions, iterators, instances of the program's classes)
cross as handles; their owner keeps the object.
"""

from __future__ import annotations

import builtins
import importlib
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_BYTES = 32 << 20
MAX_DEPTH = 200
_INLINE_DEPTH = 40  # up to this depth an instance's members follow it directly

# By name: a module is imported only when a value of it arrives, which halves the start. The types cross too.
_PLAIN_TYPES = (
    *(bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, object, type(None)),
)
_MEMBERS = {  # of dates and times, all integers
    "datetime.datetime": ("year", "month", "day", "hour", "minute", "second", "microsecond"),
    "datetime.date": ("year", "month", "day"),
    "datetime.time": ("hour", "minute", "second", "microsecond"),
    "datetime.timedelta": ("days", "seconds", "microseconds"),
}
_MAPPINGS = {"collections.Counter": b"C", "collections.OrderedDict": b"O", "collections.defaultdict": b"D"}
_IMPORTED = {
    *_MEMBERS,
    *_MAPPINGS,
    *("collections.deque", "array.array", "decimal.Decimal", "fractions.Fraction"),
}
_BUILTIN = {f"builtins.{kind.__name__}": kind for kind in _PLAIN_TYPES}
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"e", frozenset: b"z"}
_VIEWS: dict[type, bytes] = {type({}.keys()): b"k", type({}.values()): b"u", type({}.items()): b"m"}
_FACTORIES = (int, float, str, bool, list, tuple, dict, set)

# The tests may apply these functions of the module operator to two objects of the program.
OPERATORS = (
    *("eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow"),
    *("and_", "or_", "xor", "lshift", "rshift"),
)
EXCEPTIONS: dict[str, type[Exception]] = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
}


class Unplain(TypeError):
    """The value is not plain data and cannot cross. Verdicts show this name."""


class DecodeError(ValueError):
    """The bytes are not a message."""


class Row(tuple):
    """A named tuple of the other side."""

    _fields: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self[self._fields.index(name)]
        raise AttributeError(name)


def encode(
    value: Any, handle: Callable[[Any], bytes] | None = None, is_shared: Callable[[Any], bool] | None = None
) -> bytes:
    """`handle(value)` encodes a value that is not plain data, or raises Unplain. `is_shared(value)`: the other side has
    a class of this name.
    """
    encoder = _Encoder(handle, is_shared)
    encoder.add(value, 0)
    for instance in encoder.waiting:
        encoder.add(vars(instance), 0)
    return bytes(encoder.out)


def encode_handle(tag: bytes, number: int, name: str) -> bytes:
    """Tag `H` if the sender owns the object, `G` if the receiver does."""
    return tag + _number(number) + _text(name)


class _Encoder:
    def __init__(self, handle: Callable[[Any], bytes] | None, is_shared: Callable[[Any], bool] | None):
        self.out = bytearray()
        self.waiting: list[Any] = []  # shared instances whose members come at the end
        self._handle = handle
        self._is_shared = is_shared or (lambda value: False)
        self._numbers: dict[int, int] = {}

    def add(self, value: Any, depth: int) -> None:
        out, kind = self.out, type(value)
        if value is None:
            out += b"N"
        elif kind is bool:
            out += b"T" if value else b"F"
        elif kind is int:
            out += b"i" + _number(value)
        elif kind is float:
            out += b"f" + struct.pack("=d", value)
        elif kind is str:
            out += b"s" + _text(value)
        elif depth > MAX_DEPTH:
            raise Unplain(f"nested deeper than {MAX_DEPTH}")
        elif len(out) > MAX_BYTES:
            raise Unplain(f"larger than {MAX_BYTES >> 20} MB")
        elif kind in _SEQUENCES:
            out += _SEQUENCES[kind] + _count(value)
            for item in value:
                self.add(item, depth + 1)
        elif kind is dict:
            self._add_pairs(b"d", value, depth)
        elif kind is complex:
            out += b"c" + struct.pack("=dd", value.real, value.imag)
        elif kind is bytes or kind is bytearray:
            out += (b"b" if kind is bytes else b"y") + _count(value) + value
        elif kind is range:
            out += b"r" + _number(value.start) + _number(value.stop) + _number(value.step)
        elif kind in _VIEWS:
            out += _VIEWS[kind]
            self.add(dict(value) if _VIEWS[kind] == b"m" else list(value), depth + 1)
        elif isinstance(value, type):
            self._add_type(value)
        elif _name(kind) in _IMPORTED and _imported(_name(kind)) is kind:
            self._add_imported(_name(kind), value, depth)
        else:
            self._add_subclass(value, depth)

    def _add_pairs(self, tag: bytes, value: Any, depth: int) -> None:
        self.out += tag + _count(value)
        for key, item in value.items():
            self.add(key, depth + 1)
            self.add(item, depth + 1)

    def _add_type(self, value: type) -> None:
        if _imported(_name(value)) is value:
            self.out += b"B" + _text(_name(value))
        elif value.__module__ == "builtins" and EXCEPTIONS.get(value.__name__) is value:
            self.out += b"X" + _text(value.__name__)
        else:
            self._add_handle(value)

    def _add_imported(self, name: str, value: Any, depth: int) -> None:
        zone = getattr(value, "tzinfo", None)
        if name == "collections.defaultdict":
            factory = value.default_factory
            self.out += b"D"
            self.add(factory if factory in _FACTORIES else None, depth + 1)
            self._add_pairs(b"d", value, depth)
        elif name in _MAPPINGS:
            self._add_pairs(_MAPPINGS[name], value, depth)
        elif name == "collections.deque":
            self.out += b"q"
            self.add((value.maxlen, list(value)), depth + 1)
        elif name == "fractions.Fraction":
            self.out += b"Q" + _number(value.numerator) + _number(value.denominator)
        elif name == "decimal.Decimal":
            self.out += b"M" + _text(str(value))
        elif name == "array.array":
            self.out += b"a" + _text(value.typecode)
            self.add(value.tolist(), depth + 1)
        elif zone is None or type(zone) is sys.modules["datetime"].timezone:
            offset = [] if zone is None else [zone.utcoffset(None) // sys.modules["datetime"].timedelta.resolution]
            self.out += b"w" + _text(name)
            self.add([getattr(value, member) for member in _MEMBERS[name]] + offset, depth + 1)
        else:
            self._add_handle(value)

    def _add_subclass(self, value: Any, depth: int) -> None:
        """A shared class stays, a named tuple keeps its names, others become the plain type they inherit from. An enum
        member never becomes its value.
        """
        enum = sys.modules.get("enum")
        if enum is not None and isinstance(value, enum.Enum):
            if self._is_shared(value) and isinstance(value._name_, str):
                self.out += b"E" + _text(type(value).__name__) + _text(value._name_)
            else:
                self._add_handle(value)
            return
        if isinstance(value, tuple) and isinstance(fields := getattr(value, "_fields", None), tuple):
            self.out += b"R" + _text(type(value).__name__ if self._is_shared(value) else "")
            self.add([str(name) for name in fields], depth + 1)
            self.add(list(tuple.__iter__(value)), depth + 1)
            return
        for base, plain in (
            (str, lambda: str.__str__(value)),
            (int, lambda: int.__index__(value)),
            (float, lambda: float.__float__(value)),
            (bytes, lambda: bytes.__getitem__(value, slice(None))),
            (list, lambda: list.__getitem__(value, slice(None))),
            (tuple, lambda: tuple.__getitem__(value, slice(None))),
            (frozenset, lambda: frozenset(frozenset.__iter__(value))),
            (set, lambda: set(set.__iter__(value))),
            (dict, lambda: dict(dict.items(value))),
        ):
            if isinstance(value, base):
                self.add(plain(), depth)
                return
        if self._is_shared(value) and isinstance(getattr(value, "__dict__", None), dict):
            self._add_instance(value, depth)
        else:
            self._add_handle(value)

    def _add_instance(self, value: Any, depth: int) -> None:
        """Members once, then a number. Deep ones wait, so that long chains and rings can cross."""
        head = _text(type(value).__name__)
        number = self._numbers.get(id(value))
        if number is not None:
            self.out += b"p" + head + _number(number)
            return
        number = self._numbers[id(value)] = len(self._numbers)
        if depth > _INLINE_DEPTH:
            self.out += b"p" + head + _number(number)
            self.waiting.append(value)
        else:
            self.out += b"P" + head + _number(number)
            self.add(vars(value), depth + 1)

    def _add_handle(self, value: Any) -> None:
        if self._handle is None:
            raise Unplain(f"a value of type {type(value).__name__} cannot cross")
        self.out += self._handle(value)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _imported(name: str) -> type | None:
    if name not in _IMPORTED:
        return _BUILTIN.get(name)
    module, _, attribute = name.partition(".")
    return getattr(sys.modules.get(module), attribute, None)


def _import(name: str) -> Any:
    if name in _BUILTIN:
        return _BUILTIN[name]
    if name not in _IMPORTED:
        raise DecodeError("an unknown type")
    module, _, attribute = name.partition(".")
    return getattr(importlib.import_module(module), attribute)


def _number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return struct.pack("=I", len(data)) + data


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return struct.pack("=I", len(data)) + data


def _count(value: Any) -> bytes:
    return struct.pack("=I", len(value))


class Decoder:
    """`other(tag, number, name)` returns the object for a handle, `shared(name)` the class that both sides have. Raises
    only DecodeError, for any bytes.
    """

    def __init__(
        self,
        data: bytes,
        other: Callable[[bytes, int, str], Any] | None = None,
        shared: Callable[[str], type] | None = None,
    ):
        self._data = data
        self._at = 0
        self._other = other
        self._shared = shared
        self._instances: list[Any] = []
        self._waiting: list[Any] = []

    def value(self) -> Any:
        try:
            found = self._value(0)
            for instance in self._waiting:
                self._fill(instance, 0)
        except DecodeError:
            raise
        except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, struct.error) as error:
            raise DecodeError(f"no value: {type(error).__name__}") from None
        if self._at != len(self._data):
            raise DecodeError("bytes are left over")
        return found

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise DecodeError("cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def _count(self) -> int:
        """How many items follow; each has at least one byte."""
        count = struct.unpack("=I", self._take(4))[0]
        if count > len(self._data) - self._at:
            raise DecodeError("cut short")
        return count

    def _number(self) -> int:
        return int.from_bytes(self._take(self._count()), "little", signed=True)

    def _text(self) -> str:
        return self._take(self._count()).decode("utf-8", "surrogatepass")

    def _items(self, depth: int) -> list:
        return [self._value(depth + 1) for _ in range(self._count())]

    def _pairs(self, depth: int) -> list[tuple[Any, Any]]:
        return [(self._value(depth + 1), self._value(depth + 1)) for _ in range(self._count())]

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH + 8:
            raise DecodeError("nested too deep")
        tag = self._take(1)
        match tag:
            case b"N":
                return None
            case b"T" | b"F":
                return tag == b"T"
            case b"i":
                return self._number()
            case b"f":
                return struct.unpack("=d", self._take(8))[0]
            case b"s":
                return self._text()
            case b"l":
                return self._items(depth)
            case b"t":
                return tuple(self._items(depth))
            case b"e":
                return set(self._items(depth))
            case b"z":
                return frozenset(self._items(depth))
            case b"d":
                return dict(self._pairs(depth))
            case b"c":
                return complex(*struct.unpack("=dd", self._take(16)))
            case b"b":
                return self._take(self._count())
            case b"y":
                return bytearray(self._take(self._count()))
            case b"H" | b"G":
                number, name = self._number(), self._text()
                if self._other is None:
                    raise DecodeError("a handle")
                return self._other(tag, number, name)
            case b"r":
                return range(self._number(), self._number(), self._number())
            case b"P" | b"p":
                return self._instance(tag, self._text(), self._number(), depth)
        return self._rare(tag, depth)

    def _instance(self, tag: bytes, name: str, number: int, depth: int) -> Any:
        if tag == b"p" and 0 <= number < len(self._instances):
            return self._instances[number]
        if number != len(self._instances):
            raise DecodeError("an instance out of order")
        instance = object.__new__(self._class(name))
        self._instances.append(instance)
        if tag == b"P":
            self._fill(instance, depth)
        else:
            self._waiting.append(instance)
        return instance

    def _fill(self, instance: Any, depth: int) -> None:
        members = self._value(depth + 1)
        if type(members) is not dict or not all(type(name) is str for name in members):
            raise DecodeError("no members")
        vars(instance).update(members)

    def _class(self, name: str) -> Any:
        if self._shared is None:
            raise DecodeError("no class is shared")
        return self._shared(name)

    def _rare(self, tag: bytes, depth: int) -> Any:
        match tag:
            case b"C":
                return _import("collections.Counter")(dict(self._pairs(depth)))
            case b"O":
                return _import("collections.OrderedDict")(self._pairs(depth))
            case b"D":
                factory, items = self._value(depth + 1), self._value(depth + 1)
                return _import("collections.defaultdict")(factory if factory in _FACTORIES else None, items)
            case b"q":
                longest, items = self._value(depth + 1)
                return _import("collections.deque")(items, longest)
            case b"Q":
                return _import("fractions.Fraction")(self._number(), self._number())
            case b"M":
                return _import("decimal.Decimal")(self._text())
            case b"a":
                return _import("array.array")(self._text(), self._value(depth + 1))
            case b"k":
                return dict.fromkeys(self._value(depth + 1)).keys()
            case b"m":
                return dict(self._value(depth + 1)).items()
            case b"u":
                return dict(enumerate(self._value(depth + 1))).values()
            case b"w":
                return _date(self._text(), self._value(depth + 1))
            case b"B":
                return _import(self._text())
            case b"X":
                return EXCEPTIONS[self._text()]
            case b"R":
                name, fields, items = self._text(), self._value(depth + 1), self._value(depth + 1)
                if name:
                    return tuple.__new__(self._class(name), items)
                return type("Row", (Row,), {"_fields": tuple(map(str, fields))})(items)
            case b"E":
                kind, member = self._class(self._text()), self._text()
                return kind.__members__[member]
        raise DecodeError(f"an unknown tag {tag!r}")


def _date(name: str, numbers: list[int]) -> Any:
    members = _MEMBERS[name]
    if any(type(number) is not int for number in numbers):
        raise DecodeError("no date")
    zone = {}
    if len(numbers) > len(members):
        *numbers, offset = numbers
        datetime = importlib.import_module("datetime")
        zone["tzinfo"] = datetime.timezone(datetime.timedelta(microseconds=offset))
    return _import(name)(**dict(zip(members, numbers, strict=True)), **zone)


def send(descriptor: int, data: bytes) -> None:
    """Raises OSError if nobody reads, Unplain if it is too large."""
    if len(data) > MAX_BYTES:
        raise Unplain(f"larger than {MAX_BYTES >> 20} MB")
    write_all(descriptor, struct.pack("=I", len(data)) + data)


def receive(descriptor: int) -> bytes | None:
    """None at the end. Raises DecodeError if it is too large."""
    head = read_exactly(descriptor, 4)
    if len(head) < 4:
        return None
    length = struct.unpack("=I", head)[0]
    if length > MAX_BYTES:
        raise DecodeError("too large")
    data = read_exactly(descriptor, length)
    return data if len(data) == length else None


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_exactly(descriptor: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := os.read(descriptor, min(count - len(data), 1 << 20))):
        data += more
    return bytes(data)
