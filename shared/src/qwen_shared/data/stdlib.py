"""The embedded corpus: English prose and documentation that every Python installation carries, read at run time.

One document per module of the standard library: its docstrings and its longer comments, in the order in which they
stand in the source; and one document per topic of `pydoc_data` (the language reference as `help()` shows it). About
3 MB. Site-packages, tests and generated tables are never read.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import re
import sysconfig
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.data.documents import Document, FileIdentity, Meter
from qwen_shared.errors import UserError
from qwen_shared.text import replace_lone_surrogates

# Not the library's own prose: other people's packages, tests, build settings, tables made by a program.
_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__phello__", "__pycache__", "encodings"}
_FILES = {"sitecustomize.py", "usercustomize.py"}
_PREFIXES = ("config-", "_sysconfigdata")

_MODULE_MIN_BYTES = 200  # less is a heading, not a document
_COMMENT_MIN_LINES, _COMMENT_MIN_CHARS = 2, 40
_SHINGLE = 8  # words
_NEAR_DUPLICATE = 0.3  # share of a training document's shingles that may occur in held-out text
_PARAGRAPH_MIN_WORDS = 12
# A held-out module is at most this part of all that is held out: many modules say more than one giant.
_LARGEST_HELD_OUT = 0.25


@dataclass(frozen=True)
class StdlibText:
    """Training and held-out documents, and what was taken out of training for being too near to held-out text."""

    training: list[Document]
    held_out: list[Document]
    dropped_documents: list[str]
    dropped_paragraphs: int


def stdlib_identities() -> list[FileIdentity]:
    """Path inside the library and size of every module read. Times are left out: installing again changes them."""
    root = _root()
    return [(p.relative_to(root).as_posix(), p.stat().st_size, 0) for p in _module_files(root)]


def stdlib_text(share: float, max_bytes: int, limit: int | None = None, meter: Meter | None = None) -> StdlibText:
    """The corpus, split by whole modules.

    Modules are ordered by a hash of their name and held out until `share` of the modules' UTF-8 bytes, or
    `max_bytes`, is reached; topics are always for training. A training document is dropped if more than 0.3 of its
    8-word shingles occur in held-out text, and a paragraph of 12 words or more if all of them do. `limit` reads at
    most so many documents. Raises UserError where the installation has no such text.
    """
    modules = _read_modules(meter or Meter())
    topics = list(_topics())
    if limit is not None:
        modules, topics = modules[:limit], topics[: max(0, limit - len(modules))]
    held_names = choose_by_name({d.name: len(d.text.encode()) for d in modules}, share, max_bytes)
    held_out = [Document(d.text, d.name, True) for d in modules if d.name in held_names]
    training = [Document(d.text, d.name, False) for d in modules + topics if d.name not in held_names]
    return _without_near_duplicates(training, held_out)


def stdlib_modules() -> list[tuple[str, Path]]:
    """Name and file of every module that the corpus may read, by path."""
    return [(_module_name(path), path) for path in _module_files(_root())]


def held_out_modules(share: float, max_bytes: int, limit: int | None = None) -> set[str]:
    """Names of the modules that `stdlib_text` holds out, for whoever reads them in another way."""
    modules = _read_modules(Meter())[:limit]
    return choose_by_name({d.name: len(d.text.encode()) for d in modules}, share, max_bytes)


def choose_by_name(
    sizes: Mapping[str, int], share: float, max_bytes: int, largest: float = _LARGEST_HELD_OUT
) -> set[str]:
    """Names that together hold `share` of the bytes of `sizes`, or `max_bytes`: the first by their hash, none with more
    than `largest` of what is wanted; where all have more, none with more than that; else the smallest alone."""
    wanted = min(share * sum(sizes.values()), max_bytes)
    if wanted <= 0 or len(sizes) < 2:
        return set()
    # By name, so that the choice hardly moves from one release of Python to the next.
    order = sorted(sizes, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    for bound in (largest * wanted, wanted, min(sizes.values())):
        if fitting := [name for name in order if sizes[name] <= bound]:
            break
    chosen: set[str] = set()
    held = 0
    for name in fitting:
        if held >= wanted:
            break
        chosen.add(name)
        held += sizes[name]
    return chosen


def module_prose(source: bytes, told: set[str]) -> str:
    """Docstrings and block comments of a module in source order, joined by blank lines; '' if it does not parse.

    A piece that is in `told` already (licence headers, docstrings copied from module to module) is left out, and
    every piece returned is added to it.
    """
    try:
        pieces = [*_docstrings(ast.parse(source)), *_comments(source)]
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError):
        return ""
    kept = []
    for _, piece in sorted(pieces):
        text = replace_lone_surrogates(piece)
        if text not in told and _is_prose(text):
            told.add(text)
            kept.append(text)
    return "\n\n".join(kept)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=True)
            if text:
                yield node.body[0].lineno, text.strip()


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The node and every statement below it. Definitions lie nowhere else, and expressions are most of a tree."""
    yield node
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, ()):
            if not isinstance(child, ast.Expr):
                yield from _statements(child)


def _comments(source: bytes) -> Iterator[tuple[int, str]]:
    """Comments that fill their lines: neighbours in the same column make a block."""
    block: list[str] = []
    start = column = last = -1
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type != tokenize.COMMENT or not token.line.lstrip().startswith("#"):
            continue
        line, at = token.start
        if block and (line != last + 1 or at != column):
            yield from _block(start, block)
            block = []
        if not block:
            start, column = line, at
        block.append(token.string)
        last = line
    if block:
        yield from _block(start, block)


# What a program reads, not a person; and rulers, which have no words.
_DIRECTIVE = re.compile(r"#!|#+\s*(-\*-|type:|pragma|noqa|vim?:|fmt:)|\W*$")


def _block(start: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    # A ruler still parts what stands above it from what stands below.
    words = ["" if _DIRECTIVE.match(line) else line.lstrip("#").rstrip() for line in lines]
    text = inspect.cleandoc("\n" + "\n".join(words)).strip()
    long_enough = len(text) >= _COMMENT_MIN_CHARS or sum(map(bool, words)) >= _COMMENT_MIN_LINES
    if long_enough and not _is_code(text):
        yield start, text


def _is_code(text: str) -> bool:
    """Commented-out code: it parses, and more than a bare name or a string comes out."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return not all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Name | ast.Constant) for s in body)


def _is_prose(text: str) -> bool:
    """At least four words, and at least six characters in ten are letters or spaces."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= 4 and letters >= 0.6 * len(text)


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name in sorted(topics):
        yield Document(topics[name].strip(), f"topic {name}")


def _without_near_duplicates(training: list[Document], held_out: list[Document]) -> StdlibText:
    secret = {shingle for d in held_out for shingle in shingles(d.text)}
    kept, dropped, paragraphs_dropped = [], [], 0
    for document in training:
        if is_near(document.text, secret):
            dropped.append(document.name)
            continue
        paragraphs = re.split(r"\n(?:[ \t]*\n)+", document.text)
        clean = [p for p in paragraphs if not _is_told_in(p, secret)]
        if len(clean) < len(paragraphs):
            paragraphs_dropped += len(paragraphs) - len(clean)
            document = Document("\n\n".join(clean), document.name, False)
        if document.text.strip():
            kept.append(document)
    return StdlibText(kept, held_out, dropped, paragraphs_dropped)


def is_near(text: str, secret: set[int]) -> bool:
    """Whether more than 0.3 of a text's shingles are among those of held-out text."""
    own = shingles(text)
    return sum(shingle in secret for shingle in own) > _NEAR_DUPLICATE * len(own)


def _is_told_in(paragraph: str, secret: set[int]) -> bool:
    """Verbatim up to spacing: every shingle of a paragraph of some length occurs in the held-out text."""
    if len(paragraph.split()) < _PARAGRAPH_MIN_WORDS:
        return False
    return all(shingle in secret for shingle in shingles(paragraph))


def shingles(text: str) -> list[int]:
    """Hashes of every run of 8 words; case, punctuation and spacing do not count. Good for one process only."""
    words = re.findall(r"\w+", text.lower())
    return [hash(tuple(words[i : i + _SHINGLE])) for i in range(len(words) - _SHINGLE + 1)]


def _read_modules(meter: Meter) -> list[Document]:
    """The prose of every module that has some."""
    modules: list[Document] = []
    told: set[str] = set()
    files = stdlib_modules()
    meter.total = 2 * sum(p.stat().st_size for _, p in files)  # once to read them, once for who asks to go on from here
    for name, path in files:
        text = module_prose(path.read_bytes(), told)
        if len(text.encode()) >= _MODULE_MIN_BYTES:
            modules.append(Document(text, name))
        meter.at(meter.done + path.stat().st_size)
    if not modules:
        raise UserError(f"data source stdlib: no documentation in {_root()}; name a text file or directory instead")
    return modules


def _root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _module_files(root: Path) -> list[Path]:
    files = []
    for path in root.rglob("*.py"):
        *folders, name = path.relative_to(root).parts
        parts = [*folders, name]
        if _FOLDERS.isdisjoint(folders) and name not in _FILES and not any(p.startswith(_PREFIXES) for p in parts):
            files.append(path)
    return sorted(files, key=lambda p: p.relative_to(root).as_posix())


def _module_name(path: Path) -> str:
    parts = path.relative_to(_root()).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
