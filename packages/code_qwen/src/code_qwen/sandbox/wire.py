"""Values between two processes that do not trust one another, as plain data.

What arrives is built anew from exact types of the standard library, so no code of the sender's comes with it: no
`__eq__`, no subclass, no pickle. Decoding runs nothing, and takes memory in proportion to what was sent. Values that
are no plain data (functions, iterators, instances of a program's own classes) cross as handles, whose owner keeps the
thing itself.
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

LARGEST = 32 << 20  # bytes of one message
DEEPEST = 100  # nested containers

# Types of the standard library that cross, and may also cross as values themselves. By name: a module is imported when
# a value of it arrives, for a start without them takes half the time.
_PLAIN_TYPES = (
    *(bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, object, type(None)),
)
_MEMBERS = {  # of dates and the like, all whole numbers
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
_SEQUENCES = {list: b"l", tuple: b"t", set: b"e", frozenset: b"z"}

_NEED_MORE = {"UnicodeDecodeError", "UnicodeEncodeError", "UnicodeTranslateError", "ExceptionGroup"}
# Exceptions that cross as themselves: they are made of one text.
EXCEPTIONS: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and name not in _NEED_MORE
}


class Unplain(TypeError):
    """A value that cannot cross."""


class Broken(ValueError):
    """Bytes that are no message."""


class Row(tuple):
    """A named tuple of the other side's: a tuple whose items have names too."""

    _fields: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self[self._fields.index(name)]
        raise AttributeError(name)


def encode(value: Any, handle: Callable[[Any], bytes] | None = None) -> bytes:
    """`handle(value)` gives the encoding of what is no plain data, or raises Unplain."""
    out = bytearray()
    _encode(value, out, handle, 0)
    return bytes(out)


def named(tag: bytes, number: int, name: str) -> bytes:
    """The encoding of a handle: `H` where the sender owns the thing, `G` where the receiver does."""
    return tag + _number(number) + _text(name)


def record(name: str, members: dict[str, Any], handle: Callable[[Any], bytes] | None) -> bytes:
    """The encoding of an instance of a class that both sides have under that name."""
    return b"P" + _text(name) + encode(members, handle)


def _encode(value: Any, out: bytearray, handle: Callable[[Any], bytes] | None, depth: int) -> None:
    kind = type(value)
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
    elif depth > DEEPEST:
        raise Unplain(f"nested deeper than {DEEPEST}")
    elif len(out) > LARGEST:
        raise Unplain(f"larger than {LARGEST >> 20} MB")
    elif kind in _SEQUENCES:
        out += _SEQUENCES[kind] + _count(value)
        for item in value:
            _encode(item, out, handle, depth + 1)
    elif kind is dict:
        _encode_pairs(b"d", value, out, handle, depth)
    elif kind is complex:
        out += b"c" + struct.pack("=dd", value.real, value.imag)
    elif kind is bytes or kind is bytearray:
        out += (b"b" if kind is bytes else b"y") + _count(value) + value
    elif kind is range:
        out += b"r" + _number(value.start) + _number(value.stop) + _number(value.step)
    elif kind is type({}.keys()):
        out += b"k"
        _encode(list(value), out, handle, depth + 1)
    elif kind is type({}.items()):
        out += b"m"
        _encode(dict(value), out, handle, depth + 1)
    elif isinstance(value, type):
        if _imported(_name(value)) is value:
            out += b"B" + _text(_name(value))
        elif value.__module__ == "builtins" and EXCEPTIONS.get(value.__name__) is value:
            out += b"X" + _text(value.__name__)
        else:
            out += _handled(value, handle)
    elif _name(kind) in _IMPORTED and _imported(_name(kind)) is kind:
        _encode_imported(_name(kind), value, out, handle, depth)
    else:
        _encode_heir(value, out, handle, depth)


def _encode_pairs(tag: bytes, value: Any, out: bytearray, handle: Callable[[Any], bytes] | None, depth: int) -> None:
    out += tag + _count(value)
    for key, item in value.items():
        _encode(key, out, handle, depth + 1)
        _encode(item, out, handle, depth + 1)


def _encode_imported(name: str, value: Any, out: bytearray, handle: Callable[[Any], bytes] | None, depth: int) -> None:
    if name in _MAPPINGS:
        _encode_pairs(_MAPPINGS[name], value, out, handle, depth)
    elif name == "collections.deque":
        out += b"q"
        _encode((value.maxlen, list(value)), out, handle, depth + 1)
    elif name == "fractions.Fraction":
        out += b"Q" + _number(value.numerator) + _number(value.denominator)
    elif name == "decimal.Decimal":
        out += b"M" + _text(str(value))
    elif name == "array.array":
        out += b"a" + _text(value.typecode)
        _encode(value.tolist(), out, handle, depth + 1)
    elif getattr(value, "tzinfo", None) is None:
        out += b"w" + _text(name)
        _encode([getattr(value, member) for member in _MEMBERS[name]], out, handle, depth + 1)
    else:
        out += _handled(value, handle)


def _encode_heir(value: Any, out: bytearray, handle: Callable[[Any], bytes] | None, depth: int) -> None:
    """Instances of subclasses: named tuples keep their names, the others become what they inherit from. An
    enumeration's members are more than their values.
    """
    enum = sys.modules.get("enum")
    if enum is not None and isinstance(value, enum.Enum):
        out += _handled(value, handle)
        return
    if isinstance(value, tuple) and isinstance(getattr(value, "_fields", None), tuple):
        out += b"R"
        _encode([str(name) for name in value._fields], out, handle, depth + 1)
        _encode(list(tuple.__iter__(value)), out, handle, depth + 1)
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
            _encode(plain(), out, handle, depth)
            return
    out += _handled(value, handle)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _imported(name: str) -> type | None:
    """The type that the name stands for, where its module is imported."""
    if name not in _IMPORTED:
        return _BUILTIN.get(name)
    module, _, attribute = name.partition(".")
    return getattr(sys.modules.get(module), attribute, None)


def _import(name: str) -> Any:
    if name in _BUILTIN:
        return _BUILTIN[name]
    if name not in _IMPORTED:
        raise Broken("an unknown type")
    module, _, attribute = name.partition(".")
    return getattr(importlib.import_module(module), attribute)


def _handled(value: Any, handle: Callable[[Any], bytes] | None) -> bytes:
    if handle is None:
        raise Unplain(f"a value of type {type(value).__name__} cannot cross")
    return handle(value)


def _number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return struct.pack("=I", len(data)) + data


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return struct.pack("=I", len(data)) + data


def _count(value: Any) -> bytes:
    return struct.pack("=I", len(value))


class Decoder:
    """One message's values. `other(tag, number, name)` gives what stands for a handle, `make(name, members)` an
    instance of a shared class. Raises Broken, whatever the bytes.
    """

    def __init__(
        self,
        data: bytes,
        other: Callable[[bytes, int, str], Any] | None = None,
        make: Callable[[str, dict], Any] | None = None,
    ):
        self._data = data
        self._at = 0
        self._other = other
        self._make = make

    def value(self) -> Any:
        try:
            found = self._value(0)
        except Broken:
            raise
        except (TypeError, ValueError, OverflowError, ArithmeticError, struct.error, LookupError) as error:
            raise Broken(f"no value: {type(error).__name__}") from None
        if self._at != len(self._data):
            raise Broken("bytes are left over")
        return found

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise Broken("cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def _count(self) -> int:
        """Of items that follow, each of at least one byte."""
        count = struct.unpack("=I", self._take(4))[0]
        if count > len(self._data) - self._at:
            raise Broken("cut short")
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
        if depth > DEEPEST + 8:
            raise Broken("nested too deep")
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
                    raise Broken("a handle")
                return self._other(tag, number, name)
            case b"r":
                return range(self._number(), self._number(), self._number())
            case b"P":
                name, members = self._text(), self._value(depth + 1)
                if self._make is None or type(members) is not dict:
                    raise Broken("an instance")
                return self._make(name, members)
        return self._rare(tag, depth)

    def _rare(self, tag: bytes, depth: int) -> Any:
        match tag:
            case b"C":
                return _import("collections.Counter")(dict(self._pairs(depth)))
            case b"O":
                return _import("collections.OrderedDict")(self._pairs(depth))
            case b"D":
                return _import("collections.defaultdict")(None, self._pairs(depth))
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
            case b"w":
                name, numbers = self._text(), self._value(depth + 1)
                if any(type(number) is not int for number in numbers):
                    raise Broken("no date")
                return _import(name)(**dict(zip(_MEMBERS[name], numbers, strict=True)))
            case b"B":
                return _import(self._text())
            case b"X":
                return EXCEPTIONS[self._text()]
            case b"R":
                names, items = self._value(depth + 1), self._value(depth + 1)
                kind = type("Row", (Row,), {"_fields": tuple(map(str, names))})
                return kind(items)
        raise Broken(f"an unknown tag {tag!r}")


def send(descriptor: int, data: bytes) -> None:
    """One message. Raises OSError where nobody reads, Unplain where it is too large."""
    if len(data) > LARGEST:
        raise Unplain(f"larger than {LARGEST >> 20} MB")
    view = memoryview(struct.pack("=I", len(data)) + data)
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> bytes | None:
    """One message, or None at the end. Raises Broken where it would be too large."""
    head = _exactly(descriptor, 4)
    if len(head) < 4:
        return None
    length = struct.unpack("=I", head)[0]
    if length > LARGEST:
        raise Broken("too large")
    data = _exactly(descriptor, length)
    return data if len(data) == length else None


def _exactly(descriptor: int, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := os.read(descriptor, min(count - len(data), 1 << 20))):
        data += more
    return bytes(data)
