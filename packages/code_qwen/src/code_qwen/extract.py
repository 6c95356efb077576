"""Extracts the program from a model's answer by lines only: the answer is neither parsed nor run."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})([^`\n]*)$")
_PYTHON = ("", "python", "python3", "py", "py3", "pycon")
# Program lines without indentation begin with these; prose seldom does.
_STATEMENT = re.compile(
    r"(?:from\s+[\w.]+\s+import\b|import\s+[\w.]+\s*(?:,|;|#|$|as\b)|(?:async\s+)?def\s+\w+\s*[(\[]|class\s+\w+\s*[(:\[]|@\w"
    r"|(?:if|elif|for|while|with|except|match)\b.*:\s*(?:#.*)?$|(?:else|try|finally|except)\s*:|return\b|raise\b|assert\b"
    r"|[A-Za-z_][\w.]*(?:\[[^\]]*\])?\s*(?:[-+*/%|&^@]|//|\*\*|<<|>>)?=(?!=)|[A-Za-z_]\w*\s*:\s*\w[^=]*=|#|[)\]}]"
    r"|[A-Za-z_][\w.]*\(.*[),(\[{:][ \t]*(?:#.*)?$|\"\"\"|''')"
)
_FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
_ANNOTATIONS = "from __future__ import annotations\n"  # the only future import that still has an effect
_INDENT = "    "


@dataclass(frozen=True)
class _Block:
    language: str
    code: str
    closed: bool


def extract(text: str, entry_point: str, prompt: str = "") -> str:
    """The whole program in an answer, complete without the prompt: `passes("", …)`.

    `text`: the answer, with or without fences and prose. `prompt`: the code to complete, or "". In this order:

    1. the last fenced block that defines `entry_point`; a closed block wins over one that was cut off
    2. the lines around its definition in the text outside blocks
    3. the first fenced block, else the whole text, as the body of `prompt`'s function, indented if needed

    In 1 and 2 the imports and helpers of `prompt` (`preface`) come first.
    """
    text = text.replace("\r\n", "\n")
    blocks, bare = _blocks(text)
    defining = [block for block in blocks if _defines(block.code, entry_point)]
    if defining:
        closed = [block for block in defining if block.closed]
        return _joined(preface(prompt, entry_point), (closed or defining)[-1].code)
    if _defines(bare, entry_point):
        return _joined(preface(prompt, entry_point), _program(bare, entry_point))
    python = [block.code for block in blocks if block.language in _PYTHON] or [block.code for block in blocks]
    body = next((code for code in python if code.strip()), text)
    if not _defines(prompt, entry_point):
        return _joined(prompt, body)
    return f"{prompt.rstrip()}\n{_as_body(body, _body_indent(prompt, entry_point))}"


def preface(prompt: str, entry_point: str) -> str:
    """The part of a prompt before the requested function (imports, helpers); all of it if it requests none."""
    definition = _definition(prompt, entry_point)
    if definition is None:
        return prompt
    lines = prompt[: definition.start()].split("\n")
    while len(lines) > 1 and lines[-2].startswith("@"):
        del lines[-2]
    return "\n".join(lines)


def split(program: str, prompt: str, entry_point: str) -> tuple[str, str]:
    """(the prompt's part of an extracted program, trusted like the prompt; the rest)."""
    own = preface(prompt, entry_point).rstrip()
    head = next((head for head in (own, _ANNOTATIONS + own) if own and program.startswith(head)), "")
    return head, program[len(head) :]


def _blocks(text: str) -> tuple[list[_Block], str]:
    """The last block may be unclosed."""
    blocks: list[_Block] = []
    bare: list[str] = []
    fence: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if fence is None:
            if found:
                fence, lines = found, []
            else:
                bare.append(line)
        elif found and found[2].startswith(fence[2]) and not found[3].strip():
            blocks.append(_block(fence, lines, closed=True))
            fence = None
        else:
            lines.append(line)
    if fence is not None and any(line.strip() for line in lines):
        blocks.append(_block(fence, lines, closed=False))
    return blocks, "\n".join(bare)


def _block(fence: re.Match[str], lines: list[str], closed: bool) -> _Block:
    margin = fence[1]
    code = textwrap.dedent("\n".join(line.removeprefix(margin) for line in lines)) + "\n"
    words = fence[3].split()
    return _Block(words[0].lower() if words else "", code, closed)


def _defines(code: str, name: str) -> bool:
    return _definition(code, name) is not None


def _definition(code: str, name: str) -> re.Match[str] | None:
    """The last unindented function, class or assignment of this name."""
    name = re.escape(name)
    pattern = rf"^(?:(?:async[ \t]+)?def[ \t]+{name}[ \t]*[(\[]|class[ \t]+{name}\b|{name}[ \t]*(?::[^=\n]*)?=(?!=))"
    found = list(re.finditer(pattern, code, re.MULTILINE))
    return found[-1] if found else None


def _joined(before: str, code: str) -> str:
    """`__future__` imports must come first. The added line is ours, so it counts as the prompt's part."""
    if not before.strip():
        return code
    future = _ANNOTATIONS if _FUTURE.search(code) else ""
    return f"{future}{before.rstrip()}\n\n\n{_FUTURE.sub('', code)}"


def _program(text: str, entry_point: str) -> str:
    """The lines of code around a definition, up to prose."""
    lines = text.split("\n")
    definition = _definition(text, entry_point)
    assert definition is not None
    at = text.count("\n", 0, definition.start())
    first, in_string = at, False
    for i in range(at - 1, -1, -1):
        if in_string or _is_code(lines[i]):
            first = i
            in_string ^= _toggles_string(lines[i])
        elif lines[i].strip():
            break
    last = at + 1
    in_string = _toggles_string(lines[at])
    for i in range(at + 1, len(lines)):
        if in_string or _is_code(lines[i]):
            last = i + 1
            in_string ^= _toggles_string(lines[i])
        elif lines[i].strip():
            break
    while first < at and lines[first][:1].isspace():
        first += 1
    return "\n".join(lines[first:last]) + "\n"


def _is_code(line: str) -> bool:
    return bool(line.strip()) and (line[0] in " \t" or _STATEMENT.match(line) is not None)


def _toggles_string(line: str) -> bool:
    """Whether a multi-line string begins or ends in this line."""
    return (line.count('"""') + line.count("'''")) % 2 == 1


def _body_indent(prompt: str, entry_point: str) -> str:
    definition = _definition(prompt, entry_point)
    assert definition is not None
    for line in prompt[definition.end() :].split("\n")[1:]:
        if line.strip() and line[0] in " \t" and not line.lstrip().startswith(")"):
            return line[: len(line) - len(line.lstrip())]
    return _INDENT


def _as_body(text: str, indent: str) -> str:
    """Often only the first line lost its indentation."""
    lines = text.strip("\n").rstrip().split("\n")
    if lines[0][:1] in (" ", "\t"):
        return textwrap.indent(textwrap.dedent("\n".join(lines)), indent) + "\n"
    depths = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    opens = lines[0].rstrip().endswith((":", "(", "[", "{", ",", "\\"))
    if depths and min(depths) >= len(indent) and (not opens or depths[0] > len(indent)):
        return "\n".join([indent + lines[0], *lines[1:]]) + "\n"
    return textwrap.indent("\n".join(lines), indent) + "\n"
