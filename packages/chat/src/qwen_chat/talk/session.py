"""The conversation in a terminal: lines in, answers out, and commands that begin with a slash."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from qwen_chat.talk.chat import Chat
from qwen_chat.talk.interrupts import Interrupts
from qwen_shared.errors import UserError
from qwen_shared.files import write_atomic
from qwen_shared.recipe import nearest
from qwen_shared.text import escape_control_characters

HELP = """\
/system TEXT   set the system prompt; without TEXT: the model's own
/undo          remove the last question and its answer
/reset         forget the conversation
/save FILE     write the conversation as a line of JSON for `sft`
/help          this
/quit          leave (also Ctrl-D)
//…            a message that begins with a slash
Ctrl-C stops an answer; a second one leaves."""

_PROMPT = "> "


class Session:
    """`tell` prints messages of the program; only answers go to `out`."""

    def __init__(self, chat: Chat, tell: Callable[[str], None], out: TextIO):
        self._chat, self._tell, self._out = chat, tell, out
        self._own_system = chat.system
        self._saved: set[Path] = set()
        self._told_forgotten = False
        self._commands: dict[str, Callable[[str], None]] = {
            "system": self._system,
            "undo": self._undo,
            "reset": self._reset,
            "save": self._save,
            "help": lambda _: self._tell(HELP),
        }

    def run(self) -> None:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 (gives `input` editing keys and a history)
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # `_read` replaces invalid UTF-8
        on_terminal = sys.stdin.isatty() and self._out.isatty()
        warned = False  # that a second Ctrl-C leaves
        with Interrupts() as interrupts:
            while True:
                try:
                    line = _read(sys.stdin.isatty(), on_terminal)
                    if line.startswith("/") and not line.startswith("//"):
                        warned = False
                        if not self._obey(line[1:]):
                            return
                    elif line:
                        warned = self._answer(line.removeprefix("/"), interrupts)
                except EOFError:
                    if sys.stdin.isatty():
                        self._end_line()
                    return
                except KeyboardInterrupt:
                    self._end_line()
                    if warned or interrupts.stop:
                        return
                    warned = True
                    self._tell("(Ctrl-C again leaves, like Ctrl-D)")

    def _answer(self, text: str, interrupts: Interrupts) -> bool:
        """True if it was stopped."""
        forgotten = self._chat.forgotten
        try:
            chunks = self._chat.ask(text)
        except UserError as error:
            self._tell(f"({error})")
            return False
        if self._chat.forgotten > forgotten and not self._told_forgotten:
            self._told_forgotten = True
            self._tell(
                f"(the conversation fills the model's {self._chat.positions:,} positions: from now on it forgets the "
                "oldest turns)"
            )
        interrupts.answering(True)
        said = False
        with contextlib.closing(chunks):
            for chunk in trimmed(chunks):
                self._write(chunk)
                said = said or bool(chunk)
                if interrupts.stop:
                    break
        stopped = interrupts.stop
        interrupts.answering(False)
        if said:
            self._end_line()
        if stopped:
            self._tell("(stopped; /undo removes it)" if said else "(stopped)")
        elif self._chat.cut:
            self._tell("(cut: no more room; --max-new-tokens N gives more, up to the model's positions)")
        elif not said:
            self._tell("(the model says nothing)")
        if self._out.isatty():
            self._end_line()
        return stopped

    def _obey(self, words: str) -> bool:
        """False ends the conversation."""
        name, _, rest = words.partition(" ")
        if name in ("quit", "exit"):
            return False
        if name in self._commands:
            self._commands[name](rest.strip())
        else:
            hint = nearest(name, [*self._commands, "quit"])
            nearby = f"; nearest: /{hint}" if hint else ""
            self._tell(f"(no command /{escape_control_characters(name)}{nearby}; /help lists them)")
        return True

    def _system(self, text: str) -> None:
        self._chat.system = text or self._own_system
        if text:
            self._tell("(new system prompt; earlier turns stay, /reset forgets them)")
        else:
            own = self._own_system
            self._tell(f"(the model's own system prompt again{': ' + escape_control_characters(own) if own else ''})")

    def _undo(self, _: str) -> None:
        self._tell("(removed)" if self._chat.undo() else "(there is nothing to remove)")

    def _reset(self, _: str) -> None:
        self._chat.reset()
        self._told_forgotten = False
        self._tell("(forgotten)")

    def _save(self, name: str) -> None:
        if not name:
            self._tell("(/save needs the name of a file)")
            return
        path = Path(name).expanduser()
        if path.exists() and path.resolve() not in self._saved:
            self._tell(f"({escape_control_characters(name)} already exists: give another name)")
            return
        try:
            write_atomic(path, json.dumps({"messages": self._chat.messages}, ensure_ascii=False) + "\n")
        except OSError as error:
            self._tell(f"({escape_control_characters(name)} cannot be written: {error.strerror})")
            return
        self._saved.add(path.resolve())
        self._tell(f"({len(self._chat.turns)} turns saved to {escape_control_characters(name)})")

    def _write(self, chunk: str) -> None:
        if chunk:
            self._out.write(escape_control_characters(chunk))
            self._out.flush()

    def _end_line(self) -> None:
        self._out.write("\n")
        self._out.flush()


def say_once(chat: Chat, text: str, out: TextIO) -> None:
    """Prints only the answer. Raises UserError if the text is too long."""
    for chunk in trimmed(chat.ask(text)):
        out.write(escape_control_characters(chunk))
        out.flush()
    out.write("\n")
    out.flush()


def _read(prompting: bool, on_terminal: bool) -> str:
    """The next line as valid UTF-8. Raises EOFError after the last."""
    if prompting and not on_terminal:  # keep the prompt out of redirected answers
        print(_PROMPT, end="", file=sys.__stderr__, flush=True)
    line = input(_PROMPT if prompting and on_terminal else "")
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()


def trimmed(chunks: Iterable[str]) -> Iterator[str]:
    """Without white space at both ends; as many chunks, some perhaps empty."""
    begun, held = False, ""
    for chunk in chunks:
        text = held + chunk if begun else chunk.lstrip()
        body = text.rstrip()
        begun = begun or bool(body)
        held = text[len(body) :]
        yield body
