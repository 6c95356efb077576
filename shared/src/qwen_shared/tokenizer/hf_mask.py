"""From a rendered conversation to ids and loss mask. Positions are characters of its text."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# The tokenizers library's white space; Python has four separators more.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

Span = tuple[int, int]
Token = tuple[int, int, int]  # id, start, end

# encode(text, first, continued) of ordinary text. `first`: it begins the whole text. `continued`: it follows tokens of
# the same span.
Encode = Callable[[str, bool, bool], list[Token]]


@dataclass(frozen=True)
class SpecialToken:
    """A special token that the template wrote, at [start, end)."""

    start: int
    end: int
    id: int
    strip_left: bool  # it absorbs white space before it (`lstrip`)
    strip_right: bool


@dataclass(frozen=True)
class RenderedChat:
    """A rendered conversation: the template's parts and the messages' parts."""

    text: str
    template_spans: list[Span]
    """The template's own text; of the messages only white space at their edges, and markers."""
    contents: list[Span | None]
    """Each message's content; None if it is empty or the template leaves it out."""
    prompt_ends: list[int | None]
    """For an assistant message, where its prompt ends; None for other messages, or if the prompt is no prefix."""


def ids_and_mask(
    chat: RenderedChat, roles: Sequence[str], specials: Sequence[SpecialToken], stop_ids: Iterable[int], encode: Encode
) -> tuple[list[int], list[int]]:
    """Ids and loss mask; see `HfTokenizer.render`."""
    trained = _trained_spans(chat, roles, specials, frozenset(stop_ids))
    cuts = [end for end in chat.prompt_ends if end is not None]
    ids: list[int] = []
    mask: list[int] = []

    def add(id: int, start: int, end: int) -> None:
        ids.append(id)
        mask.append(int(any(low <= start < high or start < low < end for low, high in trained)))

    text = chat.text
    start = 0
    for special in [*specials, None]:
        end = special.start if special else len(text)
        if special and special.strip_left:
            end = start + len(text[start:end].rstrip(_SPACES))
        for token in _encode_in_parts(text, start, end, [cut for cut in cuts if start < cut < end], encode):
            add(*token)
        if special:
            add(special.id, special.start, special.end)
            start = special.end
            if special.strip_right:
                start = len(text) - len(text[start:].lstrip(_SPACES))
    return ids, mask


def closing_token(chat: RenderedChat, index: int, specials: Sequence[SpecialToken]) -> SpecialToken | None:
    """The special token that ends message `index`: the first behind its content, after white space only."""
    span = chat.contents[index]
    end = span[1] if span else chat.prompt_ends[index]
    if end is None:
        return None
    special = next((special for special in specials if special.start >= end), None)
    return special if special and not chat.text[end : special.start].strip() else None


def _encode_in_parts(text: str, start: int, end: int, cuts: list[int], encode: Encode) -> list[Token]:
    """Tokens of text[start:end], which holds no special token.

    At inference a model reads the ids of the text up to a cut. If a token would reach across the cut, the two parts are
    encoded separately.
    """
    tokens: list[Token] = []

    def encoded(low: int, high: int) -> list[Token]:
        return [(id, low + a, low + b) for id, a, b in encode(text[low:high], low == 0, low != start)]

    low = start
    for cut, after in pairwise([*cuts, end]):
        head, longer = encoded(low, cut), encoded(low, after)
        if [token[0] for token in longer[: len(head)]] != [token[0] for token in head]:
            tokens += head
            low = cut
    return tokens + (encoded(low, end) if low < end else [])


def _trained_spans(
    chat: RenderedChat, roles: Sequence[str], specials: Sequence[SpecialToken], stop_ids: frozenset[int]
) -> list[Span]:
    spans = []
    for index, role in enumerate(roles):
        content, prompt_end = chat.contents[index], chat.prompt_ends[index]
        if content is None and prompt_end is not None:
            content = (prompt_end, prompt_end)
        if role != "assistant" or content is None:
            continue
        start, end = content
        if prompt_end is not None and not any(prompt_end <= special.start < start for special in specials):
            start = min(start, prompt_end)
        stop = closing_token(chat, index, specials)
        spans.append((start, stop.end if stop and stop.id in stop_ids else end))
    return spans
