"""Text that UTF-8 can encode."""


def replace_lone_surrogates(text: str) -> str:
    """`text` with surrogate pairs joined to their character and lone surrogates (JSON's `\\ud800`) as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
