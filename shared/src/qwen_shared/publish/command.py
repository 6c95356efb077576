"""`<command> publish RUN[@STEP]`: a checkpoint in Hugging Face form with its proof, card and checksums. No torch."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import EXIT_FINISHED, UserError, first_line
from qwen_shared.publish.card import CARD, CardFacts, card
from qwen_shared.publish.checkpoint import Checkpoint, find_checkpoint
from qwen_shared.publish.evaluation import Quantised, is_unmeasured, results_of
from qwen_shared.publish.files import (
    CERTIFICATE,
    CHECKSUMS,
    add_stop_ids,
    copy_model,
    is_whole,
    link_files,
    model_files,
    read_certificate,
    replace_file,
    sha256,
    write_checksums,
)
from qwen_shared.publish.provenance import DataRow, ParentRow, data_rows, parent_rows
from qwen_shared.publish.target import Target, check_directory, find_target
from qwen_shared.run.manifest import MANIFEST

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

FORMAT = 1  # raise it when the same model is published as other files
_BITS = {"int8": 8, "int4": 4}  # of each quantised variant's weights
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_DTYPES = {"F32": "fp32", "BF16": "bf16", "F16": "fp16"}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN[@STEP]", help="a finished run; RUN@STEP is one of its earlier checkpoints")
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
        help="also int8, int4 or both (int8,int4), each in its own folder, with the loss it costs",
    )
    parser.add_argument("--without-evaluation", action="store_true", help="publish a model that nobody measured")
    parser.add_argument("--plan", action="store_true", help="say what would be published and what is wrong, and stop")
    parser.add_argument("--replace", action="store_true", help="replace what is at the target, even if it is newer")


def _licence(text: str) -> str:
    if not _LICENCE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a licence, such as apache-2.0")
    return text


def _variants(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in _BITS:
            raise argparse.ArgumentTypeError(f"'{name}': there are {' and '.join(_BITS)}")
    return names


def main(args: argparse.Namespace) -> int:
    """Raises UserError if nothing is published, Stopped if an upload breaks off."""
    checkpoint = find_checkpoint(args.run)
    target = find_target(args.to, checkpoint)
    if args.quantise and checkpoint.kind.model == "reward":
        raise UserError("--quantise: a reward model; only language models are quantised")
    if is_unmeasured(checkpoint.kind, results_of(checkpoint)) and not args.without_evaluation:
        command = checkpoint.manifest.command.partition(" ")[0]
        raise UserError(
            f"{args.run}: nothing says how good this model is; `{command} evaluate {args.run}` measures it, "
            "--without-evaluation publishes it anyway"
        )

    from qwen_shared.log import say
    from qwen_shared.run.lock import lock_run, lock_target

    # The run's lock covers its own directory; a plan writes nothing.
    needs_no_lock = args.plan or target.directory == checkpoint.default_target
    with (
        lock_run(checkpoint.run_dir),
        contextlib.nullcontext() if needs_no_lock else lock_target(target.directory),
    ):
        check_directory(target.directory, checkpoint.identity, args.replace)
        if args.quantise and not _has_variants(target.directory, checkpoint, args.quantise):
            _check_held_out(checkpoint, parent_rows(checkpoint))
        send = _sender(target, checkpoint, args.replace)
        if args.plan:
            say(_plan(checkpoint, target, args))
            return EXIT_FINISHED
        certificate = _assemble(checkpoint, target.directory, args)
        say(f"published {checkpoint.title} at step {checkpoint.step} in {target.directory}")
        if send:
            say(f"published at {send(certificate)}")
    return EXIT_FINISHED


def _has_variants(directory: Path, checkpoint: Checkpoint, names: Sequence[str]) -> bool:
    """Whether this checkpoint's variants are published there already."""
    certificate = read_certificate(directory) or {}
    return certificate.get("run") == checkpoint.identity and all((directory / name).is_dir() for name in names)


def _check_held_out(checkpoint: Checkpoint, parents: Sequence[ParentRow]) -> None:
    """Raises UserError if quantised variants cannot be measured."""
    from qwen_shared.publish.held_out import held_out_files
    from qwen_shared.run.paths import cache_dir

    held_out_files(checkpoint, parents, cache_dir())


def _plan(checkpoint: Checkpoint, target: Target, args: argparse.Namespace) -> str:
    variants = "".join(f", {name}" for name in args.quantise)
    unmeasured = "" if results_of(checkpoint) else ", which nobody measured,"
    sent = f" and send it to {target}" if target.hub or target.wandb else ""
    what = f"{checkpoint.title} at step {checkpoint.step}{variants}{unmeasured}"
    return f"would publish {what} in {target.directory}{sent}"


def _sender(target: Target, checkpoint: Checkpoint, replace: bool) -> Callable[[dict[str, Any]], str] | None:
    """Sends the directory and returns its address; None for a local target. Refusals come now, before any work."""
    if target.hub:
        from qwen_shared.publish import hub

        repository = hub.find_repository(target.hub, checkpoint.identity, replace)
        title = f"{checkpoint.title}, step {checkpoint.step}"
        return lambda certificate: hub.upload(repository, target.directory, title)
    if place := target.wandb:
        from qwen_shared.publish import wandb_artifact

        wandb_artifact.check(place, checkpoint.identity, replace)
        return lambda certificate: wandb_artifact.upload(place, target.directory, checkpoint, certificate)
    return None


# ---- assembling


def _assemble(checkpoint: Checkpoint, directory: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Returns the certificate. Files that would come out the same stay."""
    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.files import disk_problem, flush, replace_directory
    from qwen_shared.job.parent import exported
    from qwen_shared.log import say
    from qwen_shared.run.integrity import require_whole
    from qwen_shared.tokenizer import load_tokenizer

    source = exported(checkpoint.run_dir, None if checkpoint.is_last else checkpoint.step)
    parents = parent_rows(checkpoint)
    try:
        data = data_rows(checkpoint)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{checkpoint.run_dir / MANIFEST}: its `data` cannot be read ({error!r})") from None
    certificate: dict[str, Any] = {
        "run": checkpoint.identity,
        "hash": weights_hash(source),
        "lineage": [row.as_json() for row in parents],
        "data": [row.as_json() for row in data],
        "trained_with": checkpoint.manifest.versions,
    }
    certificate["inputs"] = _fingerprint(certificate, checkpoint, source, args)
    old = read_certificate(directory)
    certificate["licence"] = args.licence or (old or {}).get("licence")  # a licence holds until another is given
    if old is not None and old.get("inputs") == certificate["inputs"] and is_whole(directory):
        certificate |= {key: value for key, value in old.items() if key not in certificate}
        same_texts = _texts(checkpoint, directory, certificate, parents, data)
        if all((directory / name).read_text(encoding="utf-8") == text for name, text in same_texts.items()):
            say(f"{directory} is whole and up to date")
            return certificate
    else:
        same_texts = None
        if args.quantise:
            _check_held_out(checkpoint, parents)
        require_whole(checkpoint.run_dir / "checkpoints", checkpoint.step)  # the files are compared with it
    writing = directory.with_name(f".{directory.name}.writing")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(writing, ignore_errors=True)
        if same_texts:
            texts = same_texts
            say(f"the model in {directory} is up to date; writing its card anew")
            link_files(directory, writing, excluded=(*texts, CHECKSUMS))
        else:
            copy_model(source, writing, within_run=checkpoint.run_dir.resolve() in writing.resolve().parents)
            tokenizer = load_tokenizer(str(checkpoint.recipe["tokenizer"]))
            if checkpoint.kind.model != "reward":
                add_stop_ids(writing, tokenizer)
            say(f"comparing {directory} with the checkpoint")
            certificate |= _certify(checkpoint, writing, source, tokenizer)
            if args.quantise:
                from qwen_shared.publish.quantise import quantise

                variants = {name: _BITS[name] for name in args.quantise}
                certificate["quantised"] = asdict(quantise(checkpoint, writing, parents, variants))
            texts = _texts(checkpoint, writing, certificate, parents, data)
        for name, text in texts.items():
            replace_file(writing / name, text)
        write_checksums(writing)
        for path in (*writing.rglob("*"), writing):
            flush(path)
        replace_directory(writing, directory)
    except UserError:
        raise
    except Exception as error:  # a full disk has many errors
        problem = disk_problem(error, directory.parent) or (isinstance(error, OSError) and error.strerror)
        if not problem:
            raise
        raise UserError(f"{directory}: cannot be written: {problem}") from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return certificate


def _certify(checkpoint: Checkpoint, directory: Path, source: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Raises UserError if the files in `directory`, copied from `source`, are not the checkpoint."""
    from qwen_shared.files import disk_problem
    from qwen_shared.publish.parity import certify

    try:
        return certify(checkpoint, directory, tokenizer)
    except Exception as error:  # each library has its own errors
        if isinstance(error, UserError) and str(directory) not in str(error):
            raise  # about the run's checkpoint
        if disk_problem(error, directory):
            raise  # a full disk says nothing about the files
        reason = first_line(error).replace(str(directory), str(source))
        raise UserError(
            f"not published, the files are not the checkpoint: {reason}; delete {source}, and it is exported anew"
        ) from error


def _texts(
    checkpoint: Checkpoint,
    directory: Path,
    certificate: dict[str, Any],
    parents: Sequence[ParentRow],
    data: Sequence[DataRow],
) -> dict[str, str]:
    """Certificate and card of the model in `directory`, by file name."""
    from qwen_shared.convert.hf_files import stored_tensors

    stored = stored_tensors(directory)
    facts = CardFacts(
        checkpoint,
        results_of(checkpoint),
        list(parents),
        list(data),
        sum(math.prod(tensor.shape) for tensor in stored.values()),
        "/".join(sorted({_DTYPES.get(tensor.dtype, tensor.dtype) for tensor in stored.values()})),
        certificate["licence"],
        certificate,
        Quantised.from_json(certificate["quantised"]) if "quantised" in certificate else None,
    )
    return {CERTIFICATE: json.dumps(certificate, indent=2, ensure_ascii=False) + "\n", CARD: card(facts)}


def _fingerprint(certificate: dict[str, Any], checkpoint: Checkpoint, source: Path, args: argparse.Namespace) -> str:
    """Of all that decides the model's files and their proof."""
    parts = [
        FORMAT,
        [certificate[key] for key in ("run", "hash")],
        {path.name: sha256(path) for path in model_files(source) if path.suffix != ".safetensors"},
        checkpoint.manifest.tokenizer,
        [checkpoint.recipe.get(key) for key in ("tokenizer", "model", "policy")],
        args.quantise,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
