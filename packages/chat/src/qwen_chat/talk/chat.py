"""A conversation: turns, context window, streamed answers."""

from __future__ import annotations

import codecs
from collections.abc import Generator
from dataclasses import replace

from qwen_shared.data.conversations import Messages
from qwen_shared.errors import UserError
from qwen_shared.generation.decode import stream
from qwen_shared.generation.sampling import Sampling
from qwen_shared.tokenizer import Tokenizer


class Chat:
    """`system` None: the template's own. The first `forgotten` of the `turns` no longer fit the context."""

    def __init__(self, model, tokenizer: Tokenizer, system: str | None, sampling: Sampling):
        self.model, self.tokenizer, self.system, self.sampling = model, tokenizer, system, sampling
        self.positions: int | None = getattr(model.config, "max_position_embeddings", None)
        self.turns: Messages = []
        self.forgotten = 0
        self.cut = False  # the last answer ran out of room
        self._answers = 0  # numbers the random streams, so a repeated question gets another answer

    @property
    def messages(self) -> Messages:
        return self._with_system(self.turns)

    def ask(self, text: str) -> Generator[str]:
        """Streams the answer: a chunk per token, empty inside a character.

        Closing it early keeps the answer so far, or drops the turn if there is none. Raises UserError, before any
        change, if `text` is too long.
        """
        answered = self.turns[: len(self.turns) // 2 * 2]
        turns = [*answered, {"role": "user", "content": text}]
        prompt, forgotten = self._prompt(turns)
        self.turns, self.forgotten = turns, forgotten
        return self._answer(prompt)

    def undo(self) -> bool:
        """False if there was nothing to remove."""
        there = bool(self.turns)
        self.turns, self.forgotten = self.turns[:-2], 0
        return there

    def reset(self) -> None:
        self.turns, self.forgotten = [], 0

    def _answer(self, prompt: list[int]) -> Generator[str]:
        sampling = replace(self.sampling, first=self._answers, max_length=self.positions)
        self._answers += 1
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        ids: list[int] = []
        self.cut = False
        try:
            for id in stream(self.model, self.tokenizer, prompt, sampling):
                ids.append(id)
                yield characters.decode(self.tokenizer.token_bytes(id))
            self.cut = len(ids) >= sampling.room(prompt)
            yield characters.decode(b"", True)
        except GeneratorExit:
            if not ids:
                self.turns = self.turns[:-1]
                return
        finally:
            if len(self.turns) % 2:
                said = {"role": "assistant", "content": self.tokenizer.decode(ids).strip()}
                self.turns = [*self.turns, said]

    def _prompt(self, turns: Messages) -> tuple[list[int], int]:
        """The prompt's ids, and how many of the oldest turns are left out."""
        longest = (self.positions or 2**62) - min(self.sampling.max_new_tokens, (self.positions or 2**62) // 4)
        for forgotten in range(self.forgotten, len(turns), 2):
            ids = self.tokenizer.render(self._with_system(turns[forgotten:]), add_generation_prompt=True)[0]
            if len(ids) <= longest:
                return ids, forgotten
        raise UserError(
            f"this takes {len(ids):,} tokens with the system prompt; the model reads {longest:,} before its answer"
        )

    def _with_system(self, turns: Messages) -> Messages:
        return turns if self.system is None else [{"role": "system", "content": self.system}, *turns]
