"""Counts of kept and dropped files, by language and reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from code_qwen.corpus.file import Dropped
from code_qwen.corpus.filter import FilteredFile

EXAMPLES = 3


@dataclass
class Tally:
    files: int = 0
    bytes: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, size: int, where: str) -> None:
        self.files += 1
        self.bytes += size
        if len(self.examples) < EXAMPLES:
            self.examples.append(where)


@dataclass
class Report:
    """Filled while a source is read. Examples are paths relative to `root`."""

    root: str = ""
    kept: dict[str, Tally] = field(default_factory=dict)  # by language
    held_out: Tally = field(default_factory=Tally)
    dropped: dict[str, Tally] = field(default_factory=dict)  # by reason
    dropped_languages: dict[str, Counter[str]] = field(default_factory=dict)
    licences: Counter[str] = field(default_factory=Counter)
    repositories: set[str] = field(default_factory=set)
    secrets: Counter[str] = field(default_factory=Counter)

    def keep(self, filtered: FilteredFile) -> None:
        file = filtered.file
        size = len((file.text or "").encode())
        self.kept.setdefault(file.language or "unknown", Tally()).add(size, self._name(file.where))
        if file.held_out:
            self.held_out.add(size, self._name(file.where))
        self.licences[file.licence or "none"] += 1
        self.repositories.add(file.repository)
        self.secrets.update(filtered.secrets)

    def drop(self, dropped: Dropped) -> None:
        self.dropped.setdefault(dropped.reason, Tally()).add(dropped.size, self._name(dropped.where))
        if dropped.language:
            self.dropped_languages.setdefault(dropped.language, Counter())[dropped.reason] += 1

    def _name(self, where: str) -> str:
        return where.removeprefix(f"{self.root}/") if self.root else where

    @property
    def kept_files(self) -> int:
        return sum(tally.files for tally in self.kept.values())

    @property
    def dropped_files(self) -> int:
        return sum(tally.files for tally in self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "kept": {
                "files": self.kept_files,
                "bytes": sum(tally.bytes for tally in self.kept.values()),
                "repositories": len(self.repositories),
                "languages": {
                    name: {"files": t.files, "bytes": t.bytes, "dropped": self.dropped_languages.get(name, {})}
                    for name, t in _largest_first(self.kept)
                },
                "licences": dict(self.licences.most_common(50)),
            },
            "held_out": {"files": self.held_out.files, "bytes": self.held_out.bytes},
            "dropped": {
                reason: {"files": t.files, "bytes": t.bytes, "examples": t.examples}
                for reason, t in _largest_first(self.dropped)
            },
            "secrets_replaced": dict(self.secrets.most_common()),
        }


def _largest_first(tallies: dict[str, Tally]) -> list[tuple[str, Tally]]:
    return sorted(tallies.items(), key=lambda entry: (-entry[1].files, entry[0]))
