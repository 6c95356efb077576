"""Unicode mathematics as ASCII and LaTeX. Every regular expression here is linear."""

from __future__ import annotations

import re
import unicodedata

from math_qwen.verify.limits import RESPONSE_CHARS

_GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi", "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
]  # fmt: skip
_SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵃᵇᶜᵈᵉᵏᵐᵖᵗˣʸᵀ", "0123456789+-=()niabcdekmptxyT", strict=True))
_SUBSCRIPT = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₙₘₖᵢⱼ", "0123456789+-=()aeoxnmkij", strict=True))
_VULGAR = {c: unicodedata.normalize("NFKC", c).replace("\u2044", "/") for c in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
_SIGNS = {  # character to command
    "×": "times", "÷": "div", "·": "cdot", "⋅": "cdot", "∙": "cdot", "•": "cdot", "≤": "le", "⩽": "le", "≥": "ge",
    "⩾": "ge", "≠": "ne", "≈": "approx", "≃": "approx", "≅": "cong", "≡": "equiv", "∈": "in", "∉": "notin",
    "∪": "cup", "∩": "cap", "∅": "emptyset", "⊂": "subset", "⊆": "subseteq", "±": "pm", "∓": "mp", "°": "degree",
    "∞": "infty", "√": "sqrt", "∑": "sum", "∏": "prod", "∫": "int", "→": "to", "⇒": "to", "⟹": "to", "∠": "angle",
    "△": "triangle", "∣": "mid", "≦": "le", "≧": "ge", "∘": "circ", "⟨": "langle", "⟩": "rangle", "⌊": "lfloor",
    "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "∀": "forall", "∃": "exists", "∧": "land", "∨": "lor", "¬": "neg",
    "⊥": "perp", "∥": "parallel", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi",
    "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "ϕ": "phi", "ϵ": "epsilon", "ϑ": "theta",
}  # fmt: skip
_CHARACTERS: dict[int, str | None] = {
    **{ord(c): None for c in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u061c"},
    **dict.fromkeys((*range(8234, 8239), *range(8294, 8298), *range(8289, 8293))),
    **{code: None for code in range(0x20) if chr(code) not in "\t\n\r\f\v"},
    **dict.fromkeys(range(127, 160)),
    **{ord(c): " " for c in "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"},
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **{ord(c): "-" for c in "−–—﹣‐‑‒―"},
    **{ord(c): f"\\frac{{{text.split('/')[0]}}}{{{text.split('/')[1]}}}" for c, text in _VULGAR.items()},
    **{0x3B1 + k: f"\\{name} " for k, name in enumerate(_GREEK)},
    **{ord(c): f"\\{name} " for c, name in _SIGNS.items()},
    ord("º"): "\\degree ", ord("˚"): "\\degree ", ord("∖"): "\\setminus ", ord("℃"): "\\degree C",
    ord("℉"): "\\degree F", ord("∛"): "\\sqrt[3]", ord("∜"): "\\sqrt[4]", ord("ℝ"): "\\mathbb{R}",
    ord("ℤ"): "\\mathbb{Z}", ord("ℕ"): "\\mathbb{N}", ord("ℚ"): "\\mathbb{Q}", ord("ℂ"): "\\mathbb{C}",
    ord("，"): ", ", ord("、"): ", ", ord("；"): "; ", ord("。"): "。", ord("："): ": ", ord("∶"): ":",
    ord("…"): "\\ldots ", ord("⋯"): "\\ldots ", ord("′"): "'", ord("’"): "'", ord("‘"): "'", ord("“"): '"',
    ord("”"): '"', ord("″"): "''", ord("⁄"): "/", ord("∕"): "/", ord("％"): "%", ord("﹪"): "%", ord("￥"): "¥",
    ord("＄"): "$", ord("【"): "[", ord("】"): "]", ord("《"): '"', ord("》"): '"', ord("「"): '"', ord("」"): '"',
    ord("〈"): "\\langle ", ord("〉"): "\\rangle ", ord("¢"): " cents", 0xFE0F: None, 0x200D: None, ord("∗"): "*",
    ord("∼"): "~", ord("ı"): "i", ord("ℓ"): "l", ord("№"): "",
}  # fmt: skip
_RAISED = re.compile(f"[{''.join(_SUPERSCRIPT)}]+")
_LOWERED = re.compile(f"[{''.join(_SUBSCRIPT)}]+")
_OTHER = re.compile("[\U0001d400-\U0001d7ff\U0001f000-\U0001faff\u2600-\u27bf\u2b50]|[^\\W0-9_A-Za-z\u4e00-\u9fff]")
_UNIT_IN_BRACKETS = re.compile(r"(?<=[\d$}])\s?\(([\u4e00-\u9fff]{1,5})\)")  # 3+5=8(本)
_CIRCLES = frozenset(map(chr, range(0x2460, 0x2474)))
_CIRCLED = re.compile("[\u2460-\u2473](?:[\u2460-\u2473、， ]*[\u2460-\u2473])?")  # the statements ①③
_ROOT = re.compile(r"\\sqrt (\d+(?:\.\d+)?|[A-Za-z])")
# A doubled backslash before a command, as in JSON that was escaped twice.
_DOUBLED = re.compile(
    r"(?<!\\)\\\\(?=(?:d|t|c)?frac|boxed|text|left|right|sqrt|pi\b|le\b|ge\b|leq|geq|cdot|times|pm|infty|cup|cap|in\b"
    r"|mathrm|mathbf|begin|end|theta|alpha|beta|circ|ne\b|neq|sin|cos|tan|log|ln|quad|\(|\)|\[|\]|%|\$|\{|\})"
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BLANKS = re.compile(r"[ \t\r\f\v]{2,}|[\t\r\f\v]| (?=\n)|\n{3,}")
_LINES = re.compile(r"(?:\n ?){3,}")
_RUN = re.compile(r"([^\w\s])\1{40,}")
_ROWS = re.compile(r"\\begin\s*\{|\\\\\\\\")


def normalised(text: str) -> str:
    """The end of `text`, its mathematical characters as ASCII and LaTeX, without invisible ones; Chinese stays."""
    return _undoubled(_plain(text[-RESPONSE_CHARS:]))


def _plain(text: str) -> str:
    if text.isascii():
        if _CONTROL.search(text):
            text = text.translate(_CHARACTERS)
        return _squeezed(text)
    text = _RAISED.sub(lambda m: "^{" + "".join(_SUPERSCRIPT[c] for c in m[0]) + "}", text)
    text = _LOWERED.sub(lambda m: "_{" + "".join(_SUBSCRIPT[c] for c in m[0]) + "}", text)
    text = _CIRCLED.sub(lambda m: ", ".join(str(ord(c) - 0x245F) for c in m[0] if c in _CIRCLES), text)
    text = _UNIT_IN_BRACKETS.sub(r"\1", text.translate(_CHARACTERS))
    text = _squeezed(_OTHER.sub(_compatible, text))
    return _ROOT.sub(r"\\sqrt{\1}", text)


def _squeezed(text: str) -> str:
    if _BLANKS.search(text):
        text = _LINES.sub("\n\n", _BLANKS.sub(" ", text))
    return _RUN.sub(lambda m: m[0][:40], text)


def _undoubled(text: str) -> str:
    """`\\\\frac` as `\\frac`, unless `\\\\` may end a row."""
    if "\\\\" not in text:
        return text
    if _ROWS.search(text):
        # If everything is doubled, so is `\\begin`.
        return text.replace("\\\\", "\\") if "\\\\begin" in text else text
    return _DOUBLED.sub(lambda m: "\\", text)


def _compatible(match: re.Match[str]) -> str:
    character = match[0]
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character >= "\u2600" and unicodedata.category(character) in ("So", "Sk"):
        return " "  # an emoji
    simple = unicodedata.normalize("NFKC", character)
    return simple if simple.isascii() and character != simple else character
