"""ChatML (report, section 5): each turn is `<|im_start|>ROLE\\nCONTENT<|im_end|>\\n`."""

from collections.abc import Callable, Sequence

from qwen_shared.errors import UserError
from qwen_shared.tokenizer.interface import Message

DEFAULT_SYSTEM = "You are a helpful assistant."

# The same for Hugging Face. `generation` marks the part that the assistant mask sets to 1.
CHAT_TEMPLATE = (
    "{%- if messages[0].role != 'system' %}"
    "{{- '<|im_start|>system\\n" + DEFAULT_SYSTEM + "<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}"
    "{%- generation %}{{- message.content + '<|im_end|>' }}{%- endgeneration %}"
    "{%- else %}"
    "{{- message.content + '<|im_end|>' }}"
    "{%- endif %}"
    "{{- '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def render_chatml(
    messages: Sequence[Message],
    add_generation_prompt: bool,
    encode: Callable[[str], list[int]],
    im_start: int,
    im_end: int,
) -> tuple[list[int], list[int]]:
    """Ids and loss mask; see `Tokenizer.render`.

    Role, newline and content are encoded separately, so that a prompt's ids are always a prefix of the whole
    conversation's ids, even if content begins with a newline.
    """
    if not messages:
        raise UserError("a conversation needs at least one message, got an empty list")
    newline = encode("\n")
    ids: list[int] = []
    mask: list[int] = []

    def add(tokens: list[int], in_loss: bool = False) -> None:
        ids.extend(tokens)
        mask.extend([int(in_loss)] * len(tokens))

    turns = [checked_turn(message, index) for index, message in enumerate(messages)]
    if turns[0][0] != "system":
        turns.insert(0, ("system", DEFAULT_SYSTEM))
    for role, content in turns:
        add([im_start, *encode(role), *newline])
        add([*encode(content), im_end], in_loss=role == "assistant")
        add(newline)
    if add_generation_prompt:
        add([im_start, *encode("assistant"), *newline])
    return ids, mask


def checked_turn(message: Message, index: int) -> tuple[str, str]:
    """Role and content. Raises UserError unless both are text and the role is one line."""
    where = f"message {index} of the conversation"
    try:
        role, content = message["role"], message["content"]
    except (KeyError, TypeError, IndexError):
        raise UserError(f"{where} must have the keys 'role' and 'content', got {_shown(message)}") from None
    if not isinstance(role, str) or not role or "\n" in role:
        raise UserError(f"{where}: role must be one line of text such as 'user', got {_shown(role)}")
    if not isinstance(content, str):
        raise UserError(f"{where}: content must be a string, got {_shown(content)}")
    return role, content


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
