"""A private file system and process table for each program, by user namespaces.

The supervisor builds one read-only root directory in its own mount namespace: interpreter, standard library, system
libraries, a few devices. Each box is cloned into new namespaces with this root and an empty /tmp that disappears with
it.
"""

# ruff: noqa: PTH102, PTH110, PTH112, PTH114, PTH115, PTH120, PTH211

from __future__ import annotations

import os
import sys
from pathlib import Path

from code_qwen.sandbox import kernel

FLAGS = (
    os.CLONE_NEWUSER | os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS
    if kernel.KNOWN
    else 0
)
ROOT = "/dev"  # every machine has it; the supervisor builds over its own
USER = 1000
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_FIXED = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID


def visible() -> list[str]:
    prefix = Path(sys.base_prefix)
    paths = [str(Path(sys.executable).resolve()), str(prefix / "lib"), str(prefix / "lib64")]
    paths += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    paths = [path for path in dict.fromkeys(paths) if os.path.exists(path)]
    maps = Path("/proc/self/maps").read_text().split()
    loaded = dict.fromkeys(word for word in maps if word.startswith("/") and ".so" in word)
    folders = tuple(os.path.realpath(path) + "/" for path in paths)
    return paths + [path for path in loaded if not path.startswith(folders)]


def hidden() -> list[str]:
    folders = [Path(sys.base_prefix) / "lib", Path("/usr/lib"), Path("/usr/lib64"), Path(sys.base_prefix) / "lib64"]
    found = [
        path
        for folder in folders
        for pattern in ("python*/site-packages", "python*/dist-packages")
        for path in folder.glob(pattern)
    ]
    return list(dict.fromkeys(str(path.resolve()) for path in found))


def build_root() -> None:
    """Enter a mount namespace (and a user namespace unless root) and build the root directory. Raises OSError."""
    if os.geteuid() == 0:
        os.unshare(os.CLONE_NEWNS)
    else:
        user, group = os.geteuid(), os.getegid()
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
        write_maps("self", user, user, group)
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    sources = [(path, os.open(path, os.O_PATH)) for path in visible()]
    devices = [(path, os.open(path, os.O_PATH)) for path in DEVICES if os.path.exists(path)]
    kernel.mount("tmpfs", ROOT, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=4m,nr_inodes=4096,mode=755")
    for path, descriptor in sources:
        if os.path.islink(path):
            _make_folder(os.path.dirname(path))
            os.symlink(os.readlink(path), ROOT + path)
        else:
            _bind(descriptor, path, _FIXED | kernel.MOUNT_ATTR_NODEV)
    for path, descriptor in devices:
        _bind(descriptor, path, _FIXED)
    os.mkdir(f"{ROOT}/empty", 0o755)
    for path in hidden():
        if os.path.isdir(ROOT + path):
            kernel.mount(f"{ROOT}/empty", ROOT + path, "", kernel.MS_BIND)
    os.symlink("/tmp", f"{ROOT}/dev/shm")
    os.mkdir(f"{ROOT}/tmp", 0o755)
    kernel.protect_mount(ROOT, _FIXED | kernel.MOUNT_ATTR_NODEV, recursive=False)
    for _, descriptor in sources + devices:
        os.close(descriptor)


def enter(temporary_bytes: int) -> None:
    """In a newly cloned process with mapped users."""
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    kernel.mount(ROOT, ROOT, "", kernel.MS_BIND | kernel.MS_REC)  # pivot_root needs a mount of this namespace
    kernel.pivot(ROOT)
    options = f"size={temporary_bytes},nr_inodes=8192,mode=700"
    kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)


def write_maps(process: int | str, inside: int, user: int, group: int) -> None:
    """Map user and group `inside` a new user namespace to `user` and `group` outside."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {user} 1"),
        ("gid_map", f"{inside if process != 'self' else group} {group} 1"),
    ):
        Path(f"/proc/{process}/{name}").write_text(text)


def _bind(descriptor: int, path: str, attributes: int) -> None:
    target = ROOT + path
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):
        _make_folder(path)
    else:
        _make_folder(os.path.dirname(path))
        if not os.path.exists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(f"/proc/self/fd/{descriptor}", target, "", kernel.MS_BIND | kernel.MS_REC)
    kernel.protect_mount(target, attributes)


def _make_folder(path: str) -> None:
    at = ROOT
    for part in Path(path).parts[1:]:
        at = f"{at}/{part}"
        if not os.path.isdir(at):
            os.mkdir(at, 0o755)
