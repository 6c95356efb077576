"""`qwen-chat talk`: which model to talk to, and how it samples."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from dataclasses import replace
from pathlib import Path

from qwen_chat.evaluation import model as models
from qwen_shared.cli import Invocation
from qwen_shared.errors import UserError
from qwen_shared.run.manifest import MANIFEST, Manifest, is_chat_run


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", metavar="TEXT", help="print only the answer to TEXT; -: to standard input")
    parser.add_argument("--system", metavar="TEXT", help="system prompt (default: as the model was trained)")
    parser.add_argument("--temperature", type=_from_zero, metavar="T", help="0 is greedy (default: the recipe's)")
    parser.add_argument("--top-p", type=_share, metavar="P", help="sample from the likeliest tokens that make up P")
    parser.add_argument("--max-new-tokens", type=_whole(1), metavar="N", help="of an answer (default: the recipe's)")
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="of the sampling (default: 0)")


def main(invocation: Invocation) -> None:
    given = invocation.options
    if sys.stdout is None or (sys.stdin is None and given.once in (None, "-")):
        raise UserError("talk needs standard input and output, and one of them is closed")
    question = _question(given.once)
    named = models.asked(_default_run(invocation))
    if named.kind == models.REWARD:
        raise UserError(f"{named.name}: a reward model cannot answer")
    directory = named.directory()

    from rich.console import Console
    from rich.text import Text

    # For messages of the program; `sys.stderr` is the log file here.
    console = Console(file=sys.__stderr__, highlight=False, soft_wrap=True)

    def tell(text: str) -> None:
        console.print(Text(text, style="dim"))

    tell(f"{named.name}{': a base model, not trained to converse' if _is_base(named.run_dir) else ''}")
    with console.status("loading") if console.is_terminal else contextlib.nullcontext():
        from qwen_chat.talk.chat import Chat
        from qwen_chat.talk.session import Session, say_once
        from qwen_shared.generation.decode import load_decoder
        from qwen_shared.generation.sampling import Sampling
        from qwen_shared.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(str(directory))
        model = load_decoder(directory)
    settings = named.settings
    sampling = Sampling(
        settings.max_new_tokens if given.max_new_tokens is None else given.max_new_tokens,
        settings.temperature if given.temperature is None else given.temperature,
        settings.top_p if given.top_p is None else given.top_p,
        given.seed,
    )
    chat = Chat(model, tokenizer, named.system if given.system is None else given.system, sampling)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for terminals with another encoding
    if question is not None:
        say_once(chat, question, sys.stdout)
        return
    if sys.stdin.isatty():
        tell(_greeting(chat))
    with contextlib.suppress(KeyboardInterrupt):
        Session(chat, tell, sys.stdout).run()


def _greeting(chat) -> str:
    sampling = chat.sampling
    drawn = f"temperature {sampling.temperature:g}, top-p {sampling.top_p:g}" if sampling.temperature else "greedy"
    room = f"{chat.positions:,} positions, " if chat.positions else ""
    size = sum(parameter.numel() for parameter in chat.model.parameters())
    return f"{size / 1e6:,.1f} M parameters, {room}{drawn}; /help lists commands, Ctrl-D leaves"


def _question(once: str | None) -> str | None:
    if once is None:
        return None
    text = sys.stdin.buffer.read().decode("utf-8", "replace") if once == "-" else once
    if not text.strip():
        raise UserError("--once: nothing to answer")
    return text.strip()


def _default_run(invocation: Invocation) -> Invocation:
    """If no model is named: the newer of the finished PPO and SFT runs of this name."""
    default = Path("runs") / models.SFT / invocation.run_dir.name
    if invocation.from_model or invocation.run_dir != default:
        return invocation
    finished = []
    for kind in (models.SFT, models.PPO):
        run_dir = Path("runs") / kind / default.name
        if (run_dir / MANIFEST).is_file() and (manifest := Manifest.read(run_dir)).status == "finished":
            finished.append((manifest.created, str(run_dir)))
    return replace(invocation, from_model=max(finished)[1], run_dir=Path(max(finished)[1])) if finished else invocation


def _is_base(run_dir: Path | None) -> bool:
    return run_dir is not None and not is_chat_run(run_dir)


def _from_zero(text: str) -> float:
    return _number(text, lambda value: 0 <= value <= 10, "a number from 0 to 10")


def _share(text: str) -> float:
    return _number(text, lambda value: 0 < value <= 1, "a share above 0 and up to 1")


def _number(text: str, fits, wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}")
    return value


def _whole(least: int):
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**32:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} up")
        return int(text)

    return parse
