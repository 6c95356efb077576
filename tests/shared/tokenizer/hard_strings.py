"""Texts on which two tokenizers most easily disagree."""

import random
import sys

HARD_STRINGS = {
    "empty": "",
    "one space": " ",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇨🇳🇩🇪 1️⃣ ☃︎☃️",
    "Chinese": "你好，世界！通义千问是一个大语言模型。這些是繁體字，龘𠮷。",
    "Japanese and Korean": "吾輩は猫である。カ゛ガ 한국어 한국어",
    "combining marks": "e\u0301 é a\u0323\u0302 ậ Z\u0351\u036b\u0343\u036aA\u030a Å \u0301start",
    "spaces": "a  b   c    d" + " " * 50 + "e  ",
    "tabs": "\tx\t\ty \t z\t",
    "newlines": "\n\n\na\r\n\r\nb\r \n \n\n  c\n",
    "odd spaces": "a\u00a0\u00a0b\u3000c\u2003\u2028d\u0085e\u200bf\x1cg\x0bh\x00i",
    "digits": "2023-09-25 3.14159 1,000,000 ٣٤٥ Ⅷ ½ ² 一二三",
    "contractions": "I'm you'LL we've he'D it'S 'tis don't 'ſ 're're",
    "code": 'def f(x: int) -> str:\n\t"""Doc."""\n    return f"{x!r:>10}" + "\\n"  # ok?\n\n\nprint(f(1_000))\n',
    "punctuation": "!!! ... ??!\n---\n===>> <<<=== ((())) [[]] {{}} //// ####\n\n",
    "right to left": "שלום עולם! مرحبا بالعالم \u202eabc\u202c العَرَبِيَّة",
    "Indic and Thai": "नमस्ते दुनिया ภาษาไทยง่ายไหม தமிழ் ກຳ",
    "special tokens": '<|endoftext|><|im_start|>system\nx<|im_end|><|extra_0|> print("<|endoftext|>")',
    "compatibility": "ﬁ Å Ω ① ㎏ ﷺ İi̇ ß ẞ",
    "noncharacters": "\ufeff\ufffe\uffff\U0010ffff\ue000\ufffd",
    "one long word": "a" * 100_000,
    "one long word of many letters": "abcdefghij" * 10_000,
    "a long run of spaces": "a" + " " * 100_000 + "b" + " " * 100_000,
    "a long run of newlines": "\n" * 100_000,
    "a long run of dashes": "-" * 100_000,
}


def random_strings(count: int, seed: int = 0) -> list[str]:
    """Half from all of Unicode, half from few characters that meet in many ways."""
    chosen = random.Random(seed)
    few = [*"aabbsS  \t\n\r'-=._12é中文", "the", "re", "ll", "\u0301", "\u00a0", "🙂", "<|", "|>", "im_end"]

    def character() -> str:
        ceiling = chosen.choice((0x80, 0x800, 0x10000, sys.maxunicode + 1))
        while 0xD800 <= (code := chosen.randrange(ceiling)) < 0xE000:
            pass
        return chr(code)

    return [
        "".join(character() if i % 2 else chosen.choice(few) for _ in range(chosen.randrange(1, 40)))
        for i in range(count)
    ]
