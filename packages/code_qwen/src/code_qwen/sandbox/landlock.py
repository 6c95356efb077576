"""Limits which files a process can open, if it cannot have its own file system."""

# ruff: noqa: PTH112

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from code_qwen.sandbox import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_SPECIAL = 1 << 6 | 1 << 9 | 1 << 11  # devices and sockets
_RULE_BENEATH = 1
_VERSION = 1


def version() -> int:
    """Landlock's ABI version; 0 if the kernel has none."""
    try:
        return kernel.call("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def apply(readable: Iterable[str], listable: Iterable[str], writable: Iterable[str]) -> None:
    """From now on this process and its children can open files below `readable` and `writable`, list folders below
    `listable`, and nothing else. Newer kernels also deny TCP, abstract sockets and signals to others. Raises OSError.
    """
    kernel.no_new_privileges()
    known = version()
    rights = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15)):
        rights |= right if known >= since else 0
    words = [rights]
    words += [3] if known >= 4 else []  # bind and connect
    words += [3] if known >= 6 else []  # abstract sockets, signals
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = kernel.call("landlock_create_ruleset", attributes, len(attributes), 0)
    read = _EXECUTE | _READ_FILE | _READ_DIR
    write = rights & ~_SPECIAL & ~_EXECUTE
    rules = [(path, read) for path in readable]
    rules += [(path, _READ_DIR) for path in listable]
    rules += [(path, write) for path in writable]
    for path, allowed in rules:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not os.path.isdir(path):
            allowed &= _FILE_RIGHTS
        rule = struct.pack("=Qi", allowed & rights, descriptor)
        kernel.call("landlock_add_rule", ruleset, _RULE_BENEATH, rule, 0)
        os.close(descriptor)
    kernel.call("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)
