"""A directory's own chat template, rendered so that no message can produce a special token.

The template is rendered with placeholders for contents. Special tokens are looked for only around the placeholders,
which contents then replace as ordinary text.
"""

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from qwen_shared.errors import UserError
from qwen_shared.tokenizer.hf_mask import RenderedChat, Span

# A closed list: templates write the role into their own text, where a free one could spell a special token.
ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "observation")

_TOOL_ROLES = ("tool", "function", "ipython", "observation")  # some templates write their contents as JSON

# Fixed, so that equal fingerprints give equal ids.
TODAY = date(2024, 7, 26)

_KEY = f"Z{secrets.token_hex(16)}"  # per process and never shown, so no message can hold it
_PLACEHOLDER = re.compile(f"{_KEY}n([0-9]+)e")

MAX_CHARACTERS = 50_000_000  # of a rendered conversation; stops endless templates


class ChatTemplate:
    """`source` is jinja; `variables` are `bos_token` and so on; `specials` are the texts of special tokens; `name` is
    for messages. Raises UserError for invalid jinja."""

    def __init__(self, source: str, variables: Mapping[str, str], specials: Iterable[str], name: str):
        self._where = f"the chat template of {name}"
        self._variables = variables
        environment = _environment()
        try:
            self._template = environment.from_string(source)
            constants = {node.value for node in environment.parse(source).find_all(nodes.Const)}
        except TemplateSyntaxError as error:
            raise UserError(f"{self._where}, line {error.lineno}: {error.message}") from None
        texts = [text for text in constants if isinstance(text, str) and len(text.strip()) > 2]
        specials = list(specials)
        # Longest first: regular expressions take the first alternative that matches.
        self._markers = sorted((text for text in texts if not _may_join(text, specials)), key=len, reverse=True)

    def render(self, turns: Sequence[tuple[str, str]], add_generation_prompt: bool) -> RenderedChat:
        """Renders turns of (role, content).

        Raises UserError for a role outside `ROLES`, if the template refuses the conversation, and if it does more with
        contents than place them, trim them, split them at words of the template, or write tool results as JSON.
        """
        for index, (role, _) in enumerate(turns):
            if role not in ROLES:
                known = ", ".join(ROLES)
                raise UserError(f"message {index} of the conversation: role must be one of {known}, got {role!a}")
        plain = self._render(turns, add_generation_prompt)
        for keep_markers, mark_empty in ((False, True), (True, True), (False, False), (True, False)):
            masked = _MaskedTurns(turns, self._markers if keep_markers else [], mark_empty)
            try:
                rendered = self._render(masked.turns, add_generation_prompt)
            except UserError:  # the template reads contents; another masking may work
                continue
            for as_json in (False, True):
                text, template_spans, contents = masked.unmask(rendered, as_json)
                if text == plain:
                    ends = [self._prompt_end(masked, index, rendered, as_json) for index in range(len(turns))]
                    return RenderedChat(text, template_spans, contents, ends)
        raise UserError(
            f"{self._where} rewrites what messages say, so that their text could not be told from the template's own; "
            "give the directory a template that places contents as they are or trims them"
        )

    def _prompt_end(self, masked: "_MaskedTurns", index: int, rendered: str, as_json: bool) -> int | None:
        if index == 0 or masked.turns[index][0] != "assistant":
            return None
        try:
            prompt = self._render(masked.turns[:index], add_generation_prompt=True)
        except UserError:
            return None
        return len(masked.unmask(prompt, as_json)[0]) if rendered.startswith(prompt) else None

    def _render(self, turns: Sequence[tuple[str, str]], add_generation_prompt: bool) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        parts, characters = [], 0
        try:
            for part in self._template.generate(
                messages=messages, add_generation_prompt=add_generation_prompt, tools=None, documents=None,
                **self._variables,
            ):  # fmt: skip
                parts.append(part)
                characters += len(part)
                if characters > MAX_CHARACTERS:
                    raise TemplateError(f"it wrote more than {MAX_CHARACTERS:,} characters")
        except Exception as error:  # templates can raise anything
            raise UserError(f"{self._where}: {error or type(error).__name__}") from None
        return "".join(parts)


class _MaskedTurns:
    """Turns with placeholders for contents. White space at the edges stays, for the template to trim, and so do
    `markers`, which templates may look for (Qwen3: `</think>`). `mark_empty`: empty contents get placeholders too.
    """

    def __init__(self, turns: Sequence[tuple[str, str]], markers: Sequence[str], mark_empty: bool):
        self._originals: list[tuple[int, str]] = []  # of each placeholder: message, text
        cut = re.compile("(" + "|".join(map(re.escape, markers)) + ")") if markers else None
        self.turns: list[tuple[str, str]] = []
        for index, (role, content) in enumerate(turns):
            parts = cut.split(content) if cut else [content]  # every second part is a marker
            masked = [
                part if i % 2 or not (part.strip() or mark_empty) else self._placeholder(index, part)
                for i, part in enumerate(parts)
            ]
            self.turns.append((role, "".join(masked)))

    def _placeholder(self, index: int, text: str) -> str:
        core = text.strip()
        before = text[: len(text) - len(text.lstrip())]
        self._originals.append((index, core))
        return f"{before}{_KEY}n{len(self._originals) - 1}e{text[len(before) + len(core) :]}"

    def unmask(self, rendered: str, as_json: bool) -> tuple[str, list[Span], list[Span | None]]:
        """Text, template_spans and contents of a `RenderedChat`. `as_json`: tool results as JSON (Llama 3)."""
        parts, template_spans, position = [], [], 0
        contents: list[Span | None] = [None] * len(self.turns)
        for i, part in enumerate(_PLACEHOLDER.split(rendered)):
            if i % 2:
                index, part = self._originals[int(part)]
                if as_json and self.turns[index][0] in _TOOL_ROLES:
                    part = json.dumps(part, ensure_ascii=False)[1:-1]
                before = contents[index] or (position, position)
                contents[index] = (before[0], position + len(part))
            elif part:
                template_spans.append((position, position + len(part)))
            parts.append(part)
            position += len(part)
        return "".join(parts), template_spans, contents


def _may_join(marker: str, specials: Iterable[str]) -> bool:
    """Whether the marker holds, or could be part of, a special token."""
    return any(
        marker in special
        or special in marker
        or any(marker.endswith(special[:n]) or marker.startswith(special[-n:]) for n in range(1, len(special)))
        for special in specials
    )


class _GenerationTag(Extension):
    """`{% generation %}` marks the assistant's part for Hugging Face's own mask; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - jinja's interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _PublicNamespace(Namespace):
    def __setitem__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace may not be given the private name {name!r}")
        super().__setitem__(name, value)


def _environment() -> ImmutableSandboxedEnvironment:
    """With the functions that Hugging Face gives to templates."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: object, indent: int | None = None, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals.update(
        raise_exception=raise_exception, strftime_now=TODAY.strftime, namespace=_PublicNamespace, dict=lambda **kw: kw
    )
    return environment
