"""The flags of `publish`, apart from its work: --help imports nothing else."""

from __future__ import annotations

import argparse
import re

BITS = {"int8": 8, "int4": 4}  # of each quantised variant's weights
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN[@STEP]", help="a finished run; RUN@STEP is an earlier checkpoint of it")
    parser.add_argument(
        "--to",
        metavar="WHERE",
        help="a directory, hf://ORG/NAME or wandb://ENTITY/PROJECT/NAME (default: RUN/published)",
    )
    parser.add_argument(
        "--licence", "--license", type=_licence, metavar="ID", help="of the weights, for the card: apache-2.0, mit, …"
    )
    parser.add_argument(
        "--quantise",
        "--quantize",
        type=_variants,
        default=(),
        metavar="NAMES",
        help="also int8, int4 or both (int8,int4), each in a folder of its own with the loss that it costs",
    )
    parser.add_argument(
        "--without-evaluation", action="store_true", help="publish although nothing says how good the model is"
    )
    parser.add_argument("--plan", action="store_true", help="say what would be published and what is wrong, and stop")
    parser.add_argument("--replace", action="store_true", help="take the place of what is there, even if it is newer")


def _licence(text: str) -> str:
    if not _LICENCE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name of a licence, such as apache-2.0")
    return text


def _variants(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in BITS:
            raise argparse.ArgumentTypeError(f"'{name}': there are {' and '.join(BITS)}")
    return names
