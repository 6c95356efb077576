"""Bytes from an untrusted sender."""

import random

import pytest

from code_qwen.sandbox import wire

VALUE = {
    "a": [1, -2.5, None, True, (b"x", {3}, frozenset([4]))],
    (1, 2): "text",
    7: range(3),
    8: 2j,
    9: bytearray(b"y"),
}


class Thing:
    pass


def crossed(value, *classes):
    known = {kind.__name__: kind for kind in classes}
    data = wire.encode(value, is_shared=lambda one: known.get(type(one).__name__) is type(one))
    return wire.Decoder(data, shared=known.__getitem__).value()


def test_shared_instances_keep_their_shape():
    chain = last = Thing()
    for _ in range(1000):
        last.next = Thing()
        last = last.next
    last.next = chain
    found = crossed([chain, chain], Thing)
    assert found[0] is found[1] and found[0] is not chain
    steps, at = 0, found[0]
    while steps == 0 or at is not found[0]:
        steps, at = steps + 1, at.next
    assert steps == 1001
    with pytest.raises(wire.Unplain):
        crossed([chain])


def test_there_and_back():
    assert wire.Decoder(wire.encode(VALUE)).value() == VALUE


def test_damaged_bytes_are_refused_or_plain():
    draw = random.Random(0)
    good = wire.encode(VALUE)
    plain = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.choice(b"NTFifcsbyltedzCODqrQMakmwBXRHGP\0\1\xff")
        try:
            value = wire.Decoder(bytes(data[: draw.randint(1, len(data))])).value()
        except wire.DecodeError:
            continue
        assert isinstance(value, plain) or type(value).__module__ in ("collections", "decimal", "fractions", "builtins")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"N" * 2,
        b"l\xff\xff\xff\xff",
        b"i\xff\xff\xff\x7f",
        b"t\1\0\0\0" * 10_000 + b"N",
        b"e\1\0\0\0l\0\0\0\0",  # a list in a set
        b"H\1\0\0\0\0\1\0\0\0x",
        b"B\x0a\0\0\0os.system\0",
        b"B\x0d\0\0\0builtins.eval",
        b"X\x0a\0\0\0SystemExit",
        b"w\x04\0\0\0evil" + b"l\0\0\0\0",
        b"P\1\0\0\0A\1\0\0\0\0d\0\0\0\0",
        b"p\1\0\0\0A\1\0\0\0\0d\0\0\0\0",
        b"E\1\0\0\0A\1\0\0\0B",
        b"R\1\0\0\0Al\0\0\0\0l\0\0\0\0",
        b"?",
    ],
)
def test_refused(data):
    with pytest.raises(wire.DecodeError):
        wire.Decoder(data).value()
