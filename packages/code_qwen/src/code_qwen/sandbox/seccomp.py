"""Denies system calls: network, tracing, mounts, new namespaces. Without a PID namespace also processes, signals to
others, and changes of file attributes.
"""

from __future__ import annotations

import ctypes
import os
import struct

from code_qwen.sandbox import kernel

_ALWAYS = """
socket connect bind listen ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise mount umount2
pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare setns add_key request_key
keyctl bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register memfd_create memfd_secret
shmget shmat msgget semget mq_open kexec_load kexec_file_load init_module finit_module delete_module reboot swapon
swapoff acct settimeofday clock_settime adjtimex clock_adjtime syslog quotactl sethostname setdomainname iopl ioperm
modify_ldt vhangup name_to_handle_at open_by_handle_at fanotify_init setpriority sched_setaffinity sched_setscheduler
sched_setparam sched_setattr ioprio_set migrate_pages move_pages
"""
# Also denied if the program shares processes and files with the host. Landlock does not cover modes, owners, times and
# attributes.
_SHARED = """
fork vfork tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal chmod fchmod fchmodat fchmodat2 chown fchown
lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr
fremovexattr removexattrat file_setattr
"""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NEW_NAMESPACES = 0x7E020080
_THREAD = 0x00010000
_STREAM = 1

_SET_FILTER = 1


def apply(is_alone: bool) -> None:
    """`is_alone`: in a PID namespace. Raises OSError."""
    kernel.no_new_privileges()
    program = _program(is_alone, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    kernel.call("seccomp", _SET_FILTER, 0, header)


def _program(is_alone: bool, own_pid: int) -> bytes:
    lines = [
        _line(_LOAD, 4),
        _line(_EQUAL, _ARCHITECTURES[kernel.MACHINE], 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, 0),
    ]
    if kernel.MACHINE == "x86_64":
        lines += [_line(_AT_LEAST, 0x40000000, 0, 1), _line(_RETURN, _KILL)]
    denied = _ALWAYS.split() + ([] if is_alone else _SHARED.split())
    for name in denied:
        number = kernel.number(name)
        if number is not None:
            lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ERRNO | _EPERM)]
    # The flags of clone3 are in memory, where a filter cannot read; without it the C library uses clone.
    lines += [_line(_EQUAL, _number("clone3"), 0, 1), _line(_RETURN, _ERRNO | _ENOSYS)]
    lines += _if("clone", 0, [_line(_ANY_BIT, _NEW_NAMESPACES, 0, 1)])
    lines += _if(
        "socketpair", 1, [_line(_AND, 0xF), _line(_EQUAL, _STREAM, 1, 0)]
    )  # other kinds can send to any address
    lines += _if("fcntl", 1, *([_line(_EQUAL, command, 0, 1)] for command in (8, 10, 15)))  # could send SIGIO to others
    lines += _if("ioctl", 1, *([_line(_EQUAL, request, 0, 1)] for request in (0x8901, 0x8902, 0x5412, 0x541C)))
    lines += _if("prlimit64", 0, [_line(_EQUAL, 0, 2, 0), _line(_EQUAL, own_pid, 1, 0)])
    if not is_alone:
        lines += _if("clone", 0, [_line(_ANY_BIT, _THREAD, 1, 0)])
        for name in ("kill", "tgkill"):
            lines += _if(name, 0, [_line(_EQUAL, own_pid, 1, 0)])
    lines.append(_line(_RETURN, _ALLOW))
    return b"".join(lines)


def _if(name: str, argument: int, *tests: list[bytes]) -> list[bytes]:
    """Deny a call if the low half of its argument meets a test. A failed test skips one line."""
    body = [_line(_LOAD, 16 + 8 * argument)]
    for test in tests:
        body += [*test, _line(_RETURN, _ERRNO | _EPERM)]
    body.append(_line(_LOAD, 0))
    return [_line(_EQUAL, _number(name), 0, len(body)), *body]


def _number(name: str) -> int:
    number = kernel.number(name)
    if number is None:
        raise OSError(38, f"no {name} on this machine")
    return number


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value & 0xFFFFFFFF)
