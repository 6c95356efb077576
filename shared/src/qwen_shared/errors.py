"""Exit codes, and the two exceptions that end a command early on purpose."""

EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_STOPPED = 75  # EX_TEMPFAIL: everything is saved, the same command continues


class UserError(Exception):
    """The user's mistake. The message is one line: what, where, and the nearest right thing."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class Stopped(Exception):
    """A signal stopped the run; everything is saved."""


def first_line(error: BaseException) -> str:
    """Of an exception's message; its class name if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
