"""Words of tasks: names of arguments and functions, strings, fields, and sentences around a description."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# By kind of argument: its names, and the second word of the function's name.
ARGUMENTS = {
    "number": _words("n x value number num"),
    "numbers": _words("scores values items data nums"),
    "text": _words("text s word line string"),
    "record": _words("record entry info data item"),
    "rows": _words("rows records items entries users"),
}
NOUNS = {
    "number": _words("number value score price level size point length index time total"),
    "numbers": _words("numbers values items scores prices points sizes lines data ids"),
    "text": _words("text word line name string label message path title key"),
    "record": _words("record entry value field info option user item key data"),
    "rows": _words("rows records users items entries orders files groups books list"),
}
PLAIN_NAMES = _words("solve solution compute process convert func run helper handle task apply work")

# Few of each, so that a small model sees each often enough to learn to copy it; most are common in code.
LETTERS = tuple("abcdefghklmnprst")
STRINGS = _words(
    "open close left right up down new old first last on off top low high long red blue green good bad yes no small"
)
AFFIXES = (*STRINGS[:12], *_words("< > [ ] ( ) * # - = : /"))
FIELDS = _words(
    "name size date time year address code level point color group host port user version state count price age score"
)

REQUESTS = {
    "en": (
        "Write a function {name}({x}) that returns {what}.",
        "Define {name}({x}), which returns {what}.",
        "Implement {name}({x}). It should return {what}.",
    ),
    "zh": (
        "写一个函数{name}({x})，返回{what}。",
        "定义{name}({x})，它返回{what}。",
        "实现函数{name}({x})，要求返回{what}。",
    ),
}
DOCSTRINGS = {"en": ("Return {what}.", "Returns {what}."), "zh": ("返回{what}。",)}
LAYOUTS = (
    'def {name}({x}):\n    """{doc}"""\n',
    'def {name}({x}):\n    """{doc}"""\n',
    'def {name}({x}):\n    """\n    {doc}\n    """\n',
)
