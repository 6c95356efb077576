"""What a chat model is asked: the embedded held-out dialogues, or a file of one's own prompts. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from qwen_chat import dialogues
from qwen_shared.data.conversations import Messages
from qwen_shared.errors import UserError
from qwen_shared.recipe.sft_schema import SftData

GROUPS = ("kind", "language")


@dataclass(frozen=True)
class Question:
    turns: Messages  # up to the last user's
    groups: dict[str, str]  # its kind and its language, where they are known
    dialogue: dialogues.Dialogue | None  # None: no program can tell whether an answer is right


@dataclass(frozen=True)
class Task:
    name: str
    path: Path | None  # of a file of prompts; None: embedded

    @property
    def place(self) -> str:
        return str(self.path or "embedded")

    def questions(self, limit: int) -> list[Question]:
        """The first `limit` (0: all). Raises UserError for a file that cannot be read or holds no prompt."""
        if self.path is None:
            made = dialogues.held_out(self.name)[: limit or None]
            return [Question(dialogues.prompt(d), {"kind": d.kind, "language": d.language}, d) for d in made]
        from qwen_chat.ppo.prompts import prompt_of
        from qwen_shared.data.rows import read_rows

        questions = []
        for row, where, _ in islice(read_rows(self.path), limit or None):
            groups = {key: row[key] for key in GROUPS if isinstance(row.get(key), str)}
            questions.append(Question(prompt_of(row, where), groups, None))
        if not questions:
            raise UserError(f"tasks={self.path}: no prompt in it")
        return questions


def find_tasks(names: Sequence[str]) -> list[Task]:
    """Raises UserError for a name that is neither a task's nor a file's, and for one that stands twice."""
    tasks: list[Task] = []
    for text in names:
        task = _task(text)
        if task.name in [other.name for other in tasks]:
            raise UserError(f"tasks: {task.name} stands there twice")
        tasks.append(task)
    return tasks


def _task(text: str) -> Task:
    if text in dialogues.HELD_OUT:
        return Task(text, None)
    path = Path(text).expanduser()
    suffix = next((suffix for suffix in SftData.suffixes if path.name.endswith(suffix)), "")
    if not suffix and "/" not in text:
        files = ", ".join(SftData.suffixes)
        raise UserError(
            f"tasks: no task '{text}' (there is: {', '.join(dialogues.HELD_OUT)}; or a file of prompts: {files})"
        )
    if not path.is_file():
        raise UserError(f"tasks={text}: no such file")
    if not suffix:
        raise UserError(f"tasks={text}: a file of prompts is one of {', '.join(SftData.suffixes)}")
    name = path.name.removesuffix(suffix)
    if name in dialogues.HELD_OUT:
        raise UserError(f"tasks={text}: {name} is the name of an embedded task; rename the file")
    return Task(name, path)
