"""A directory's own chat template, rendered so that nothing a message says can become a special token.

The template is rendered with private stand-ins in place of what messages say. Special tokens are looked for only in
what the template itself wrote around the stand-ins; the contents take their places afterwards, as ordinary text.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from qwen_shared.errors import UserError

# Templates write the role into their own text, so that roles are a closed list: a free one could spell a token.
ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython", "observation")

_RETURNING = ("tool", "function", "ipython", "observation")  # turns of which some templates make JSON

# The day that `strftime_now` tells a template. Always the same one: equal fingerprints must give equal ids, and a run
# that resumes tomorrow must read what it read today.
TODAY = date(2024, 7, 26)

_KEY = f"Z{secrets.token_hex(16)}"  # of this process; it is never shown, so no message can hold it
_STAND_IN = re.compile(f"{_KEY}n([0-9]+)e")

MAX_CHARACTERS = 50_000_000  # of one rendered conversation; no template that ends is near it

# White space as the tokenizers library has it: Python also counts four separators among the control characters.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

Span = tuple[int, int]


@dataclass(frozen=True)
class Special:
    """A special token that the template wrote, at [start, end) of the text."""

    start: int
    end: int
    id: int
    strip_left: bool
    """It takes the white space before it with it, as its directory says (``lstrip``)."""
    strip_right: bool


@dataclass(frozen=True)
class Layout:
    """A rendered conversation and who wrote what in it; all positions are characters of ``text``."""

    text: str
    written: list[Span]
    """What the template wrote. It holds nothing that messages say but white space at their edges and landmarks."""
    contents: list[Span | None]
    """What each message says; None where the template leaves it out or it says nothing."""
    prompts: list[int | None]
    """Where the prompt ends that an assistant message answers; None for others, or where the text is no prefix."""


class ChatTemplate:
    """``source`` is jinja; ``variables`` are what it may name besides messages, such as ``bos_token``.

    ``specials`` are the special tokens as text. ``name`` is for messages. Raises UserError if it is not valid jinja.
    """

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
        # Longest first: in a choice of several, regular expressions take the first that fits.
        specials = list(specials)
        self._landmarks = sorted((text for text in texts if not _may_join(text, specials)), key=len, reverse=True)

    def lay_out(self, turns: Sequence[tuple[str, str]], add_generation_prompt: bool) -> Layout:
        """The conversation of (role, content) as the template writes it.

        Raises UserError for a role outside ``ROLES``, where the template refuses the conversation, and where it does
        more with a content than to place it, to trim it, to take it apart at words that stand in the template, or to
        write what a tool returned as JSON.
        """
        for index, (role, _) in enumerate(turns):
            if role not in ROLES:
                known = ", ".join(ROLES)
                raise UserError(f"message {index} of the conversation: role must be one of {known}, got {role!a}")
        plain = self._render(turns, add_generation_prompt)
        for landmarks, mark_empty in ((False, True), (True, True), (False, False), (True, False)):
            stand_ins = _StandIns(turns, self._landmarks if landmarks else [], mark_empty)
            try:
                rendered = self._render(stand_ins.turns, add_generation_prompt)
            except UserError:  # it looks at what is said; another form may suit it
                continue
            for stand_ins.as_json in (False, True):
                text, written, contents = stand_ins.resolve(rendered)
                if text == plain:
                    prompts = [self._prompt_end(stand_ins, index, rendered) for index in range(len(turns))]
                    return Layout(text, written, contents, prompts)
        raise UserError(
            f"{self._where} rewrites what messages say, so that their text could not be told from the template's own; "
            "give the directory a template that places contents as they are or trims them"
        )

    def _prompt_end(self, stand_ins: "_StandIns", index: int, rendered: str) -> int | None:
        if index == 0 or stand_ins.turns[index][0] != "assistant":
            return None
        try:
            prompt = self._render(stand_ins.turns[:index], add_generation_prompt=True)
        except UserError:
            return None
        return len(stand_ins.resolve(prompt)[0]) if rendered.startswith(prompt) else None

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
        except Exception as error:  # a template can fail in every way a program can
            raise UserError(f"{self._where}: {error or type(error).__name__}") from None
        return "".join(parts)


class _StandIns:
    """Turns in which what is said is replaced by words that nobody can guess.

    White space at the edges stays, for the template to trim. With ``landmarks`` those words stay too, for templates
    that look for them in a content (Qwen3: ``</think>``). ``mark_empty``: also nothing gets a stand-in. ``as_json``:
    what a tool returned is written as JSON writes it (Llama 3).
    """

    as_json = False

    def __init__(self, turns: Sequence[tuple[str, str]], landmarks: Sequence[str], mark_empty: bool):
        self._said: list[tuple[int, str]] = []  # message and text that each stand-in stands for
        cut = re.compile("(" + "|".join(map(re.escape, landmarks)) + ")") if landmarks else None
        self.turns: list[tuple[str, str]] = []
        for index, (role, content) in enumerate(turns):
            parts = cut.split(content) if cut else [content]  # every second one is a landmark
            masked = [
                part if i % 2 or not (part.strip() or mark_empty) else self._stand_in(index, part)
                for i, part in enumerate(parts)
            ]
            self.turns.append((role, "".join(masked)))

    def _stand_in(self, index: int, text: str) -> str:
        core = text.strip()
        before = text[: len(text) - len(text.lstrip())]
        self._said.append((index, core))
        return f"{before}{_KEY}n{len(self._said) - 1}e{text[len(before) + len(core) :]}"

    def resolve(self, rendered: str) -> tuple[str, list[Span], list[Span | None]]:
        """Text, ``written`` and ``contents`` of a ``Layout``."""
        parts, written, position = [], [], 0
        contents: list[Span | None] = [None] * len(self.turns)
        for i, part in enumerate(_STAND_IN.split(rendered)):
            if i % 2:
                index, part = self._said[int(part)]
                if self.as_json and self.turns[index][0] in _RETURNING:
                    part = json.dumps(part, ensure_ascii=False)[1:-1]
                before = contents[index] or (position, position)
                contents[index] = (before[0], position + len(part))
            elif part:
                written.append((position, position + len(part)))
            parts.append(part)
            position += len(part)
        return "".join(parts), written, contents


def ids_and_mask(
    layout: Layout,
    roles: Sequence[str],
    specials: Sequence[Special],
    stop_ids: Iterable[int],
    encode: Callable[[str, bool, bool], list[tuple[int, int, int]]],
) -> tuple[list[int], list[int]]:
    """Ids of the layout and its loss mask; see ``HfTokenizer.render``.

    ``encode(text, first, continued)`` gives (id, start, end) of ordinary text: ``first`` if it begins the whole,
    ``continued`` if tokens of the same stretch stand before it.
    """
    trained = _trained_spans(layout, roles, specials, frozenset(stop_ids))
    cuts = [end for end in layout.prompts if end is not None]
    ids: list[int] = []
    mask: list[int] = []

    def add(id: int, start: int, end: int) -> None:
        ids.append(id)
        mask.append(int(any(low <= start < high or start < low < end for low, high in trained)))

    text = layout.text
    start = 0
    for special in [*specials, None]:
        end = special.start if special else len(text)
        if special and special.strip_left:
            end = start + len(text[start:end].rstrip(_SPACES))
        for token in _stretch(text, start, end, [cut for cut in cuts if start < cut < end], encode):
            add(*token)
        if special:
            add(special.id, special.start, special.end)
            start = special.end
            if special.strip_right:
                start = len(text) - len(text[start:].lstrip(_SPACES))
    return ids, mask


def _stretch(
    text: str, start: int, end: int, cuts: list[int], encode: Callable[[str, bool, bool], list[tuple[int, int, int]]]
) -> list[tuple[int, int, int]]:
    """Tokens of text[start:end], which holds no special token.

    A model that answers reads the ids of the text up to a cut. Where these are not how the ids of the longer text
    begin, because a token would reach across the cut, the text is encoded in two.
    """
    tokens: list[tuple[int, int, int]] = []

    def encoded(low: int, high: int) -> list[tuple[int, int, int]]:
        return [(id, low + a, low + b) for id, a, b in encode(text[low:high], low == 0, low != start)]

    low = start
    for cut, after in pairwise([*cuts, end]):
        head, longer = encoded(low, cut), encoded(low, after)
        if [token[0] for token in longer[: len(head)]] != [token[0] for token in head]:
            tokens += head
            low = cut
    return tokens + (encoded(low, end) if low < end else [])


def closing(layout: Layout, index: int, specials: Sequence[Special]) -> Special | None:
    """The special token that ends message ``index``: the first behind its content, with only white space between."""
    span = layout.contents[index]
    end = span[1] if span else layout.prompts[index]
    if end is None:
        return None
    special = next((special for special in specials if special.start >= end), None)
    return special if special and not layout.text[end : special.start].strip() else None


def _trained_spans(
    layout: Layout, roles: Sequence[str], specials: Sequence[Special], stop_ids: frozenset[int]
) -> list[Span]:
    spans = []
    for index, role in enumerate(roles):
        content, prompt = layout.contents[index], layout.prompts[index]
        span = content or (None if prompt is None else (prompt, prompt))
        if role != "assistant" or span is None:
            continue
        start, end = span
        if prompt is not None and not any(prompt <= special.start < start for special in specials):
            start = min(start, prompt)
        stop = closing(layout, index, specials)
        spans.append((start, stop.end if stop and stop.id in stop_ids else end))
    return spans


def _may_join(landmark: str, specials: Iterable[str]) -> bool:
    """Whether the landmark could be a part of a special token's text, or hold one."""
    return any(
        landmark in special
        or special in landmark
        or any(landmark.endswith(special[:n]) or landmark.startswith(special[-n:]) for n in range(1, len(special)))
        for special in specials
    )


class _GenerationTag(Extension):
    """``{% generation %}`` marks the assistant's part for Hugging Face's own mask; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own way

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _PublicNamespace(Namespace):
    def __setitem__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace may not be given the private name {name!r}")
        super().__setitem__(name, value)


def _environment() -> ImmutableSandboxedEnvironment:
    """What templates are written for: sandboxed, and with the functions that Hugging Face gives them."""

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
