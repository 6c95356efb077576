"""Lists the source files of a directory tree by name, without ignored, vendored and generated files.

Opens only .gitignore files and licences and follows no symbolic links; the order is the same everywhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from code_qwen.corpus.file import CodeFile, Dropped
from code_qwen.corpus.languages import language_of
from code_qwen.corpus.licences import UNKNOWN, is_licence_file, licence_of
from qwen_shared.data.documents import FileIdentity
from qwen_shared.errors import UserError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_VENDORED = """
    node_modules bower_components jspm_packages vendor vendors _vendor third_party third-party thirdparty 3rdparty
    3rd_party extern external externals site-packages dist-packages venv virtualenv __pycache__ Pods Carthage
"""
_LOCKS = """
    package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml Cargo.lock Pipfile.lock poetry.lock uv.lock pdm.lock
    composer.lock Gemfile.lock Podfile.lock go.sum flake.lock mix.lock pubspec.lock packages.lock.json
"""
_VENDORED_FOLDERS = frozenset(_VENDORED.split())
_LOCK_FILES = frozenset(_LOCKS.split())
_GENERATED = re.compile(
    r"_pb2(_grpc)?\.pyi?|\.pb\.(go|cc|h|swift)|_grpc\.pb\..*|\.pb2?\.dart|\.(g|freezed|generated)\.(dart|cs|ts|kt)"
    r"|\.designer\.(cs|vb)|_generated\.(go|rs|h|py)|zz_generated\..*|\.generated\..*",
    re.I,
)
_MINIFIED = re.compile(r"[.-](min|bundle|pack)\.(js|mjs|cjs|css|html?)", re.I)
_LICENCE_BYTES = 40_000


@dataclass
class Listing:
    root: Path
    files: list[CodeFile] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    data_files: int = 0  # a tree with nothing but .jsonl or .parquet is a dataset
    identities: list[FileIdentity] = field(default_factory=list)


def list_tree(root: Path, data_suffixes: tuple[str, ...] = ()) -> Listing:
    """The files below `root` that a person wrote in a programming language, by their names.

    A repository is a folder with `.git`; other files belong to one named like the root. The nearest LICENSE or COPYING
    above a file in its repository holds for it. Every .gitignore on the path and .git/info/exclude hold, also for
    tracked files.

    Raises UserError if the root cannot be read.
    """
    listing = Listing(root.resolve())
    try:
        next(os.scandir(listing.root), None)
    except OSError as error:
        raise UserError(f"data source {root}: cannot be read: {error.strerror}") from None
    top = _Folder(listing.root, "", listing.root.name, None, ())
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        waiting += reversed(list(_scan(folder, listing, data_suffixes)))
    listing.files.sort(key=lambda file: (file.repository, file.path))
    return listing


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    inside: str  # path within the repository, "" or with a final /
    repository: str
    licence: str | None
    rules: tuple[tuple[str, GitIgnoreSpec], ...]  # (folder, its .gitignore), outer first


def _scan(folder: _Folder, listing: Listing, data_suffixes: tuple[str, ...]) -> Iterator[_Folder]:
    """Adds a folder's files to the listing; yields its subfolders."""
    try:
        with os.scandir(folder.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        listing.dropped.append(Dropped("folder that cannot be read", str(folder.path)))
        return
    names = {entry.name for entry in entries}
    folder = _opened(folder, names, listing)
    for entry in entries:
        where = entry.path
        if not _is_text(entry.name):
            listing.dropped.append(Dropped("name that is not UTF-8", os.fsencode(where).decode("utf-8", "replace")))
        elif entry.is_symlink():
            listing.dropped.append(Dropped("symbolic link", where))
        elif entry.is_dir(follow_symlinks=False):
            if entry.name == ".git":
                continue
            inside = f"{folder.inside}{entry.name}/"
            if reason := _folder_reason(entry.name) or (_ignored(folder, inside) and "ignored by git (folder)"):
                listing.dropped.append(Dropped(reason, where))
            else:
                yield _Folder(Path(where), inside, folder.repository, folder.licence, folder.rules)
        elif entry.is_file(follow_symlinks=False):
            _file(entry, folder, listing, data_suffixes)
        else:
            listing.dropped.append(Dropped("not a regular file", where))


def _opened(folder: _Folder, names: set[str], listing: Listing) -> _Folder:
    path, inside, repository, licence, rules = (
        folder.path, folder.inside, folder.repository, folder.licence, folder.rules,
    )  # fmt: skip
    if ".git" in names and folder.path != listing.root:
        inside, licence, rules = "", None, ()
        repository = folder.path.relative_to(listing.root).as_posix()
    sources = [path / ".git" / "info" / "exclude"] if ".git" in names else []
    sources += [path / ".gitignore"] if ".gitignore" in names else []
    for source in sources:
        if spec := _rules(source, listing):
            rules = (*rules, (inside, spec))
    licences = []
    for name in sorted(filter(is_licence_file, names)):
        if text := _small_text(path / name, listing):
            licences.append(licence_of(text) or UNKNOWN)
    if licences:
        licence = " AND ".join(dict.fromkeys(licences))
    return _Folder(path, inside, repository, licence, rules)


def _file(entry: os.DirEntry[str], folder: _Folder, listing: Listing, data_suffixes: tuple[str, ...]) -> None:
    name = entry.name
    language = language_of(name)
    path = folder.inside + name
    try:
        about = entry.stat(follow_symlinks=False)
    except OSError:
        return
    if reason := _file_reason(name) or (_ignored(folder, path) and "ignored by git"):
        listing.dropped.append(Dropped(reason, entry.path, language, about.st_size))
    elif language is None:
        listing.data_files += name.lower().endswith(data_suffixes)
        listing.dropped.append(Dropped("not a programming language", entry.path, None, about.st_size))
    else:
        listing.files.append(CodeFile(path, folder.repository, language, folder.licence, entry.path, about.st_size))
        listing.identities.append((entry.path, about.st_size, about.st_mtime_ns))


def _is_text(name: str) -> bool:
    """Python gives other names lone surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _folder_reason(name: str) -> str | None:
    if name in _VENDORED_FOLDERS:
        return "vendored or built (folder)"
    return "hidden (folder)" if name.startswith(".") else None


def _file_reason(name: str) -> str | None:
    if name in _LOCK_FILES:
        return "lock file"
    if name.startswith("."):
        return "hidden"
    if _MINIFIED.search(name):
        return "minified"
    return "generated" if _GENERATED.search(name) else None


def _ignored(folder: _Folder, path: str) -> bool:
    """The innermost .gitignore with a matching rule decides."""
    for where, spec in reversed(folder.rules):
        said = spec.check_file(path.removeprefix(where)).include
        if said is not None:
            return said
    return False


def _rules(source: Path, listing: Listing) -> GitIgnoreSpec | None:
    from pathspec import GitIgnoreSpec

    text = _small_text(source, listing)
    if text is None or not text.strip():
        return None
    try:
        return GitIgnoreSpec.from_lines(text.splitlines())
    except ValueError:  # skip invalid lines, as git does
        lines = [line for line in text.splitlines() if _is_pattern(line)]
        return GitIgnoreSpec.from_lines(lines)


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _small_text(path: Path, listing: Listing) -> str | None:
    """The start of a .gitignore or licence; it becomes part of the listing's identity."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # no links; a pipe would block
            return None
        with path.open("rb") as file:
            content = file.read(_LICENCE_BYTES)
        about = path.stat()
    except OSError:
        return None
    listing.identities.append((str(path), about.st_size, about.st_mtime_ns))
    return content.decode("utf-8", "replace")
