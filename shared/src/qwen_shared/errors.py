"""The two ways in which a command ends early on purpose, and all exit codes."""

EXIT_FINISHED = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_STOPPED = 75  # EX_TEMPFAIL: everything is saved, the same command continues


class UserError(Exception):
    """A mistake that the user can fix. The message is one line: what, where, and the nearest right thing."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class Stopped(Exception):
    """A signal asked the run to stop and everything is saved; the same command resumes it."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its class name if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
