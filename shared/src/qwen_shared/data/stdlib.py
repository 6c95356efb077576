"""The embedded corpus: about 3 MB of English prose from the Python installation.

One document per module of the standard library (docstrings and longer comments), and one per topic of `pydoc_data`.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.data.documents import Document, FileIdentity, Meter
from qwen_shared.data.near_duplicates import remove_near_duplicates
from qwen_shared.data.python_prose import module_prose
from qwen_shared.data.split import held_out_names
from qwen_shared.errors import UserError

# Other packages, tests, build settings, generated tables.
_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__phello__", "__pycache__", "encodings"}
_FILES = {"sitecustomize.py", "usercustomize.py"}
_PREFIXES = ("config-", "_sysconfigdata")

_MODULE_MIN_BYTES = 200


@dataclass(frozen=True)
class StdlibText:
    training: list[Document]
    held_out: list[Document]
    dropped_documents: list[str]
    dropped_paragraphs: int


def stdlib_identities() -> list[FileIdentity]:
    """Relative path and size of every module; times are 0, since a new installation changes them."""
    root = _root()
    return [(p.relative_to(root).as_posix(), p.stat().st_size, 0) for p in _module_files(root)]


def stdlib_text(share: float, max_bytes: int, limit: int | None = None, meter: Meter | None = None) -> StdlibText:
    """The corpus, split by modules (`held_out_names`); topics are always for training.

    Near duplicates of held-out text are removed from training. `limit` reads at most that many documents. Raises
    UserError if the installation has no such text.
    """
    modules = _read_modules(meter or Meter())
    topics = list(_topics())
    if limit is not None:
        modules, topics = modules[:limit], topics[: max(0, limit - len(modules))]
    held_names = held_out_names(_sizes(modules), share, max_bytes)
    held_out = [Document(d.text, d.name, True) for d in modules if d.name in held_names]
    training = [Document(d.text, d.name, False) for d in modules + topics if d.name not in held_names]
    kept, dropped, dropped_paragraphs = remove_near_duplicates(training, held_out)
    return StdlibText(kept, held_out, dropped, dropped_paragraphs)


def stdlib_modules() -> list[tuple[str, Path]]:
    """(name, file) of every module that the corpus may read, by path."""
    return [(_module_name(path), path) for path in _module_files(_root())]


def held_out_modules(share: float, max_bytes: int, limit: int | None = None) -> set[str]:
    """Names of the modules that `stdlib_text` holds out."""
    return held_out_names(_sizes(_read_modules(Meter())[:limit]), share, max_bytes)


def _sizes(documents: list[Document]) -> dict[str, int]:
    return {document.name: len(document.text.encode()) for document in documents}


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name in sorted(topics):
        yield Document(topics[name].strip(), f"topic {name}")


def _read_modules(meter: Meter) -> list[Document]:
    modules: list[Document] = []
    seen: set[str] = set()
    files = stdlib_modules()
    meter.total = 2 * sum(p.stat().st_size for _, p in files)  # reading, then tokenising
    for name, path in files:
        text = module_prose(path.read_bytes(), seen)
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
