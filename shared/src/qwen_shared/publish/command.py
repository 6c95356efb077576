"""`<command> publish RUN[@STEP]`: a checkpoint in Hugging Face form, proved, with its card, checksums and a place."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import EXIT_FINISHED, UserError, first_line
from qwen_shared.publish.card import CARD, REWARD, Facts, card
from qwen_shared.publish.data_table import DataRow, data_rows
from qwen_shared.publish.evaluation import Quantised, figures_of, is_missing
from qwen_shared.publish.files import (
    CERTIFICATE,
    CHECKSUMS,
    copy_model,
    is_whole,
    link_files,
    model_files,
    read_certificate,
    sha256,
    stop_where_it_should,
    sync,
    write,
    write_checksums,
)
from qwen_shared.publish.lineage import Forebear, forebears
from qwen_shared.publish.options import BITS
from qwen_shared.publish.subject import Subject, find_subject
from qwen_shared.publish.target import Target, check_directory, find_target
from qwen_shared.run.manifest import MANIFEST

if TYPE_CHECKING:
    from qwen_shared.publish.parity import Parity

FORMAT = 1  # raised whenever the same model would be other files


@dataclass(frozen=True)
class Kind:
    """A kind of run that does not train on Megatron, as its package knows it."""

    parity: Parity
    made_here: tuple[str, ...]  # data sources that the package makes itself


def main(args: argparse.Namespace, kinds: Mapping[str, Kind] | None = None) -> int:
    """The whole verb. `kinds` are those that the command's package adds. Raises UserError where nothing is published,
    Stopped where an upload ends early."""
    subject = find_subject(args.run)
    target = find_target(args.to, subject)
    if args.quantise and subject.kind == REWARD:
        raise UserError("--quantise: a reward model; only language models are quantised")
    if is_missing(subject.kind, figures_of(subject)) and not args.without_evaluation:
        command = subject.manifest.command.partition(" ")[0]
        raise UserError(
            f"{args.run}: nothing says how good this model is; `{command} evaluate {args.run}` measures it, "
            "--without-evaluation publishes it all the same"
        )
    kind = _kind_of(subject, kinds or {})

    from qwen_shared.log import say
    from qwen_shared.run.lock import lock_run, lock_target

    # Within its run the lock of that is enough; and a plan writes nothing anywhere.
    alone = args.plan or target.directory == subject.default_target
    with lock_run(subject.run_dir), contextlib.nullcontext() if alone else lock_target(target.directory):
        check_directory(target.directory, subject.identity, args.replace)
        if args.quantise and not _has_variants(target.directory, subject, args.quantise):
            _check_held_out(subject, forebears(subject))
        send = _receiver(target, subject, args.replace)
        if args.plan:
            say(_planned(subject, target, args))
            return EXIT_FINISHED
        certificate = _put_together(subject, kind, target.directory, args)
        say(f"published {subject.title} at step {subject.step} in {target.directory}")
        if send:
            say(f"published at {send(certificate)}")
    return EXIT_FINISHED


def _has_variants(directory: Path, subject: Subject, names: Sequence[str]) -> bool:
    """Whether they were published there of this checkpoint: then perhaps there is nothing to measure."""
    there = read_certificate(directory) or {}
    return there.get("run") == subject.identity and all((directory / name).is_dir() for name in names)


def _check_held_out(subject: Subject, chain: Sequence[Forebear]) -> None:
    """Raises UserError where nothing could be said of what quantising costs."""
    from qwen_shared.publish.held_out import held_out_files
    from qwen_shared.run.paths import cache_dir

    held_out_files(subject, chain, cache_dir())


def _planned(subject: Subject, target: Target, args: argparse.Namespace) -> str:
    more = "".join(f", {name}" for name in args.quantise)
    measured = "" if figures_of(subject) else ", of which nothing was measured"
    sent = f" and send it to {target}" if target.hub or target.wandb else ""
    return f"would publish {subject.title} at step {subject.step}{more}{measured} in {target.directory}{sent}"


def _kind_of(subject: Subject, kinds: Mapping[str, Kind]) -> Kind:
    if "parallel" in subject.recipe or (subject.checkpoint / "metadata.json").is_file():  # trained on Megatron
        return Kind(_megatron_parity, ())
    if subject.kind in kinds:
        return kinds[subject.kind]
    command = subject.manifest.command.partition(" ")[0]
    raise UserError(f"{subject.run_dir}: a run of {subject.kind}: `{command} publish` publishes it")


def _megatron_parity(*words: Any) -> dict[str, Any]:
    from qwen_shared.publish.megatron import megatron_parity

    return megatron_parity(*words)


def _receiver(target: Target, subject: Subject, replace: bool):
    """Sends what was put together and says where it is; None for a directory. Looks there first: to be refused costs
    no work."""
    if target.hub:
        from qwen_shared.publish import hub

        repository = hub.look(target.hub, subject.identity, replace)
        return lambda certificate: hub.upload(repository, target.directory, f"{subject.title}, step {subject.step}")
    if target.wandb:
        from qwen_shared.publish import wandb_artifact

        wandb_artifact.look(target.wandb, subject.identity, replace)
        return lambda certificate: wandb_artifact.upload(target.wandb, target.directory, subject, certificate)
    return None


# ---- putting it together


def _put_together(subject: Subject, kind: Kind, directory: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The directory, whole; returns its certificate. What lies there already and would come out the same stays."""
    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.files import disk_problem, replace_directory
    from qwen_shared.job.parent import exported
    from qwen_shared.log import say
    from qwen_shared.run.integrity import require_whole
    from qwen_shared.tokenizer import load_tokenizer

    source = exported(subject.run_dir, None if subject.is_last else subject.step)
    chain = forebears(subject)
    try:
        data = data_rows(subject, kind.made_here)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{subject.run_dir / MANIFEST}: what it says of its data cannot be read ({error!r})") from None
    certificate: dict[str, Any] = {
        "run": subject.identity,
        "hash": weights_hash(source),
        "lineage": [forebear.as_json() for forebear in chain],
        "data": [row.as_json() for row in data],
        "trained_with": subject.manifest.versions,
    }
    certificate["inputs"] = _fingerprint(certificate, subject, source, args)
    there = read_certificate(directory)
    # What was said of it once holds until something else is said.
    certificate["licence"] = args.licence or (there or {}).get("licence")
    is_same = there is not None and there.get("inputs") == certificate["inputs"] and is_whole(directory)
    if is_same:  # only what is said of them can be another
        certificate |= {key: value for key, value in there.items() if key not in certificate}
        texts = _texts(subject, directory, certificate, chain, data)
        if all((directory / name).read_text(encoding="utf-8") == text for name, text in texts.items()):
            say(f"{directory} is whole and up to date")
            return certificate
    else:
        if args.quantise:
            _check_held_out(subject, chain)
        require_whole(subject.run_dir / "checkpoints", subject.step)  # it is what the files are compared with
    writing = directory.with_name(f".{directory.name}.writing")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(writing, ignore_errors=True)
        if is_same:
            say(f"the model in {directory} is up to date; its card is written anew")
            link_files(directory, writing, but=(*texts, CHECKSUMS))
        else:
            copy_model(source, writing, within_run=subject.run_dir.resolve() in writing.resolve().parents)
            tokenizer = load_tokenizer(str(subject.recipe["tokenizer"]))
            if subject.kind != REWARD:
                stop_where_it_should(writing, tokenizer)
            say(f"comparing {directory} with the checkpoint")
            certificate |= _certify(subject, kind, writing, source, tokenizer)
            if args.quantise:
                from qwen_shared.publish.quantise import quantise

                variants = {name: BITS[name] for name in args.quantise}
                certificate["quantised"] = asdict(quantise(subject, writing, chain, variants))
            texts = _texts(subject, writing, certificate, chain, data)
        for name, text in texts.items():
            write(writing / name, text)
        write_checksums(writing)
        sync(writing)
        replace_directory(writing, directory)
    except UserError:
        raise
    except Exception as error:  # a full disk has many names
        problem = disk_problem(error, directory.parent) or (isinstance(error, OSError) and error.strerror)
        if not problem:
            raise
        raise UserError(f"{directory}: cannot be written: {problem}") from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return certificate


def _certify(subject: Subject, kind: Kind, directory: Path, source: Path, tokenizer) -> dict[str, Any]:
    from qwen_shared.files import disk_problem
    from qwen_shared.publish.parity import certify

    try:
        return certify(subject, directory, tokenizer, kind.parity)
    except Exception as error:  # files that are no model have as many names as there are libraries to read them
        if isinstance(error, UserError) and str(directory) not in str(error):
            raise  # of the run's checkpoint
        if disk_problem(error, directory):
            raise  # the disk is full, and says nothing of the files
        said = first_line(error).replace(str(directory), str(source))
        raise UserError(
            f"not published, the files are not the checkpoint: {said}; delete {source} to have it made anew"
        ) from error


def _texts(
    subject: Subject,
    directory: Path,
    certificate: dict[str, Any],
    chain: Sequence[Forebear],
    data: Sequence[DataRow],
) -> dict[str, str]:
    """Card and certificate of the model in `directory`, by the names of their files."""
    from qwen_shared.convert.hf_files import stored_tensors

    stored = stored_tensors(directory)
    facts = Facts(
        subject,
        figures_of(subject),
        list(chain),
        list(data),
        sum(math.prod(tensor.shape) for tensor in stored.values()),
        "/".join(sorted({_DTYPES.get(tensor.dtype, tensor.dtype) for tensor in stored.values()})),
        certificate["licence"],
        certificate,
        Quantised.from_json(certificate["quantised"]) if "quantised" in certificate else None,
    )
    return {CERTIFICATE: json.dumps(certificate, indent=2, ensure_ascii=False) + "\n", CARD: card(facts)}


_DTYPES = {"F32": "fp32", "BF16": "bf16", "F16": "fp16"}


def _fingerprint(certificate: dict[str, Any], subject: Subject, source: Path, args: argparse.Namespace) -> str:
    """Of everything that decides the model's files and their proof. Card and certificate are compared as they are."""
    parts = [
        FORMAT,
        [certificate[key] for key in ("run", "hash")],
        {path.name: sha256(path) for path in model_files(source) if path.suffix != ".safetensors"},
        subject.manifest.tokenizer,
        [subject.recipe.get(key) for key in ("tokenizer", "model", "policy")],
        args.quantise,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
