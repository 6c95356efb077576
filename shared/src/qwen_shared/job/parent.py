"""Where a run's first weights come from: what `--from` names, and what the run keeps of it. No torch.

`--from` brings weights and a tokenizer. The run then holds all that it needs of them to go on: the model in its
recipe, the tokenizer in `tokenizer/`, name, step and hash in the manifest, the proof in `import.json`. A run that has
a checkpoint never looks at its start again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.convert.families import read_model
from qwen_shared.convert.hf_files import check_weights, weights_hash
from qwen_shared.errors import UserError, first_line
from qwen_shared.files import write_atomic
from qwen_shared.job.own_process import in_own_process
from qwen_shared.log import say
from qwen_shared.model.sizes import pad_vocab_size
from qwen_shared.recipe import PretrainRecipe, RunRecipe, SftRecipe, TrainedModel, load_recipe
from qwen_shared.recipe.keys import whole_number
from qwen_shared.recipe.load import raw_section
from qwen_shared.recipe.schema import Model
from qwen_shared.run import Manifest, Parent
from qwen_shared.run.integrity import require_whole
from qwen_shared.run.lineage import describe_parent, lineage_of
from qwen_shared.run.manifest import MANIFEST, RECIPE, TOKENIZER, has_trained, read_recipe
from qwen_shared.run.paths import checkpoint_path, export_directory, exported_step, find_export, list_checkpoints
from qwen_shared.tokenizer import load_tokenizer

CERTIFICATE = "import.json"

# A tokenizer may have so many ids more than the model has rows: ChatML's, or its own that came late.
_ADDED_IDS = 256

# What may differ from the start's model: neither changes what a stored weight means.
_CHANGEABLE = ("padded_vocab_size", "max_positions", "rope_base", "rope_scaling")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.jinja", "*.tiktoken"]  # never pickles, never code


@dataclass(frozen=True)
class ParentModel:
    """A model that exists already, and its tokenizer."""

    name: str  # the absolute path of a run or of a Hugging Face directory, or a name on the hub
    step: int | None  # of a run's checkpoint
    model: Model  # with `padded_vocab_size` for all ids of the tokenizer
    tokenizer: str  # what `load_tokenizer` takes

    def __str__(self) -> str:
        return f"{self.name}@{self.step}" if self.step else self.name

    def fetch(self) -> Path:
        """The directory with the weights in Hugging Face form: exported, or downloaded, where it is not there yet.

        Rank 0 calls this first; the others then find what it made.
        """
        directory = Path(self.name)
        if (directory / RECIPE).is_file():
            return exported(directory, self.step)
        return directory if directory.is_dir() else _from_hub(self.name, [*_HUB_FILES, "*.safetensors"])


@dataclass(frozen=True)
class DefaultParent:
    """The run that a job starts from where no --from is given: the parent of the same recipe name."""

    run_dir: Path
    command: str  # that makes it

    def finished_run(self) -> Path:
        """Raises UserError where there is none yet."""
        made = f"`{self.command}` makes it, or --from names another model"
        if not (self.run_dir / MANIFEST).is_file():
            raise UserError(f"{self.run_dir}: no run there to start from; {made}")
        status = Manifest.read(self.run_dir).status
        if status != "finished":
            raise UserError(f"{self.run_dir}: the run to start from is {status}, not finished; {made}")
        return self.run_dir


def split_step(text: str, flag: str = "--from ") -> tuple[str, int | None]:
    """The place and the step of RUN@STEP; anything else is a place. Raises UserError for a step that is none; `flag` is
    what it was given to."""
    place, at, step = text.rpartition("@")
    if not at or Path(text).exists():
        return text, None
    number = whole_number(step)
    if not number:
        raise UserError(f"{flag}{text}: '{step}' is not a step; write RUN@STEP, for example {place}@100")
    return place, number


def find_parent(run_dir: Path, given: str | None, default: DefaultParent | None = None) -> ParentModel | None:
    """What the run in `run_dir` starts from, where `given` is its --from; None for random weights.

    A job that needs a parent has a `default` one, taken if none is given. A run with checkpoints has all it needs,
    even if its parent is gone. Raises UserError if the run began from another model, or if the model cannot be used.
    """
    if (run_dir / MANIFEST).is_file():
        manifest = Manifest.read(run_dir)
        # Before its first step a run may still begin from another model, but not quietly from none.
        if (given or not default) and (has_trained(run_dir) or (manifest.parent and not given)):
            _check_same(run_dir, manifest.parent, given)
        if manifest.parent and (manifest.status == "finished" or list_checkpoints(run_dir / "checkpoints")):
            recipe = read_recipe(run_dir, TrainedModel)
            return ParentModel(manifest.parent.run, manifest.parent.step, recipe.model, recipe.tokenizer)
        if manifest.parent and default and not given:
            given = _written(manifest.parent)  # resolved once
    if not given and default:
        given = str(default.finished_run())
    return resolve_parent(given) if given else None


def resolve_parent(text: str) -> ParentModel:
    """A run, RUN@STEP, a Hugging Face directory or a name on the hub. Raises UserError for what cannot be trained."""
    place, step = split_step(text)
    directory = Path(place).expanduser().resolve()
    if (directory / RECIPE).is_file():
        return _from_run(directory, step)
    if step:
        raise UserError(f"--from {text}: {place} is not a run, only runs have steps")
    name = str(directory)
    if directory.is_dir():
        model = read_model(directory)
        check_weights(directory, model)
    else:
        name, directory = place, _from_hub(place, _HUB_FILES)
        model = read_model(directory)
    ids = load_tokenizer(str(directory)).vocab_size
    if ids > model.padded_vocab_size + _ADDED_IDS:
        raise UserError(
            f"--from {text}: its tokenizer has {ids:,} ids and its embedding {model.padded_vocab_size:,} rows: they "
            "are not of one model; put the right tokenizer beside it"
        )
    if ids > model.padded_vocab_size:  # tokens were added: its rows grow
        model = model.model_copy(update={"padded_vocab_size": -(-ids // 128) * 128})
    return ParentModel(name, None, model, str(directory))


def recipe_from[R: RunRecipe](
    parent: ParentModel, schema: type[R], config: str, overrides: list[str], recipes: Path, run_dir: Path
) -> R:
    """The recipe with `model` and `tokenizer` of the start in place of its own. Raises UserError for overrides that
    contradict them."""
    model = parent.model.model_dump(mode="json")
    # A recipe for longer texts says so in its file; whatever else it says of a model is for random weights.
    longer = raw_section(schema, config, recipes, "model").get("max_positions")
    taken = [f"model={json.dumps(model)}", f"tokenizer={parent.tokenizer}"]
    if longer:
        taken.append(f"model.max_positions={json.dumps(longer)}")
    recipe = load_recipe(schema, config, [*taken, *overrides], recipes)
    if recipe.tokenizer != parent.tokenizer:
        raise UserError(f"tokenizer={recipe.tokenizer}: --from brings its own tokenizer; leave this out")
    for key in Model.model_fields:
        ours, theirs = getattr(recipe.model, key), getattr(parent.model, key)
        if ours != theirs and key not in _CHANGEABLE:
            raise UserError(f"model.{key}={ours} contradicts --from {parent}, which has {theirs}; leave it out")
    if (recipe.model.padded_vocab_size or 0) < parent.model.padded_vocab_size:
        rows = recipe.model.padded_vocab_size
        raise UserError(
            f"model.padded_vocab_size={rows}: --from {parent} has {parent.model.padded_vocab_size} rows, "
            "and more can be had"
        )
    positions = recipe.model.max_positions or recipe.data.seq_length
    # Conversations keep to the positions by themselves, however many of them share a sample.
    if recipe.data.seq_length > positions and not isinstance(recipe, SftRecipe):
        raise UserError(
            f"data.seq_length={recipe.data.seq_length} is more than the {positions} positions of --from {parent}; "
            f"to stretch them, set model.max_positions={recipe.data.seq_length}"
        )
    if carries_optimizer(recipe) and not list_checkpoints(run_dir / "checkpoints"):
        _check_carried(parent, recipe)
    return recipe.model_copy(update={"tokenizer": str(run_dir / TOKENIZER)})


def carries_optimizer(recipe: RunRecipe) -> bool:
    """Whether a new run goes on with the optimizer's state of the run it starts from."""
    return isinstance(recipe, PretrainRecipe) and recipe.init.optimizer == "carry"


def _check_carried(parent: ParentModel, recipe: PretrainRecipe) -> None:
    """Raises UserError where the start has no optimizer state that would fit."""
    run_dir, said = Path(parent.name), f"init.optimizer=carry: {parent}"
    if not (run_dir / RECIPE).is_file():
        raise UserError(f"{said} is no run, so it has no optimizer state; init.optimizer=fresh starts without")
    saved = list_checkpoints(run_dir / "checkpoints")
    if parent.step not in saved:
        there = ", ".join(map(str, saved)) or "none"
        raise UserError(f"{said}: that run's checkpoint is not there any more (there: {there})")
    rows, needed = parent.model.padded_vocab_size, recipe.model.padded_vocab_size
    if rows != needed:
        raise UserError(f"{said} has {rows} embedding rows, and so has its optimizer's state: not {needed}")
    ours, theirs = recipe.training.precision, Manifest.read(run_dir).precision
    if ours not in ("auto", theirs):
        raise UserError(f"{said} was trained in {theirs}, and its optimizer's state is of that; leave out {ours}")


def prove_import(parent: ParentModel, directory: Path, run_dir: Path, digest: str) -> None:
    """Prove, once in a run, that Megatron's model is the parent's, whose weights with hash `digest` are in `directory`.

    Rank 0 calls this. Raises UserError for weights that cannot be trained on, RuntimeError if the proof fails.
    """
    certificate = _certificate(run_dir)
    if certificate.get("hash") != digest:
        say(f"reading {parent}, and proving the import")
        in_own_process(write_import_certificate, directory, parent.tokenizer, digest, run_dir / CERTIFICATE)
        certificate = _certificate(run_dir)
    stored_rows = read_model(directory).padded_vocab_size
    if stored_rows < parent.model.padded_vocab_size:
        say(f"model  {stored_rows:,} embedding rows grow to {parent.model.padded_vocab_size:,} for the tokenizer's ids")
    tensors, logits = certificate["tensors"], certificate["logits"]
    say(
        f"from   {parent}: {tensors['compared']} tensors bit-equal there and back, logits of {logits['layers']} layers "
        f"within {logits['max_difference']:.1e} of transformers' in fp32"
    )


def write_import_certificate(directory: str, tokenizer: str, digest: str, certificate: str) -> None:
    """Prove that Megatron's model is the Hugging Face one; for `in_own_process`."""
    from qwen_shared.convert import import_hf

    found = {"hash": digest} | import_hf.prove_import(Path(directory), load_tokenizer(tokenizer))
    write_atomic(Path(certificate), json.dumps(found, indent=2) + "\n")


def keep_parent(parent: ParentModel, weights: Path | None, run_dir: Path, manifest: Manifest) -> None:
    """Keep in the run what it needs of its parent: the tokenizer, and the parent's name, step and hash.

    `weights` is what `fetch` gave, None if the run no longer reads them. Rank 0 calls this; it does not write the
    manifest. Raises UserError if a run that has taken steps would go on with other weights.
    """
    if weights is None:
        manifest.parent = manifest.parent or describe_parent(parent.name, parent.step)
        manifest.lineage = manifest.lineage or lineage_of(manifest.parent)
        return
    digest = weights_hash(weights)
    before = manifest.parent.hash if manifest.parent else None
    if has_trained(run_dir):
        if before not in (None, digest):
            raise UserError(
                f"--from {parent} changed since {run_dir} began: put back what was, or start a new run with --run-dir"
            )
    else:
        tokenizer = load_tokenizer(parent.tokenizer)
        shutil.rmtree(run_dir / TOKENIZER, ignore_errors=True)
        tokenizer.save_hf(run_dir / TOKENIZER)
        if load_tokenizer(str(run_dir / TOKENIZER)).fingerprint != tokenizer.fingerprint:
            raise RuntimeError(f"{run_dir / TOKENIZER} is not the tokenizer of {parent}")
    manifest.parent = describe_parent(parent.name, parent.step, digest)
    manifest.lineage = lineage_of(manifest.parent)


def exported(run_dir: Path, step: int | None) -> Path:
    """A run's checkpoint (default: the last) in Hugging Face form, exported now where it has not been."""
    found = find_export(run_dir, step)
    if found is not None:
        return found
    saved = _steps(run_dir, step)
    if not (checkpoint_path(run_dir / "checkpoints", step or saved[-1]) / "metadata.json").is_file():
        # A checkpoint of a reward model or of PPO holds more than one model, in other forms.
        raise UserError(f"{run_dir}: its model is exported when the run ends, and only that of the last step")
    step = step or saved[-1]
    # What RUN/export holds of a later step, whose checkpoint is gone, stays.
    is_last = step == saved[-1] and step >= (exported_step(export_directory(run_dir)) or 0)
    target = export_directory(run_dir, None if is_last else step)
    require_whole(run_dir / "checkpoints", step)
    from qwen_shared.job.export import export_step  # brings torch

    in_own_process(export_step, run_dir, step, target)
    return target


def hf_directory(text: str) -> Path:
    """The Hugging Face directory that --from names where it is no run. Raises UserError where there is none."""
    directory = Path(text).expanduser()
    return directory if directory.is_dir() else _from_hub(text, [*_HUB_FILES, "*.safetensors"])


def _from_run(run_dir: Path, step: int | None) -> ParentModel:
    recipe = read_recipe(run_dir, TrainedModel)
    if find_export(run_dir, step) is None:
        _steps(run_dir, step)
    saved = list_checkpoints(run_dir / "checkpoints")
    rows = pad_vocab_size(recipe.model, load_tokenizer(recipe.tokenizer).vocab_size, tensor_parallel=1)
    resolved = {
        "padded_vocab_size": rows,
        "max_positions": recipe.model.max_positions or recipe.data.seq_length,
        "head_dim": recipe.model.head_size,
        "num_key_value_heads": recipe.model.kv_heads,
    }
    step = step or (saved[-1] if saved else None)
    return ParentModel(str(run_dir), step, recipe.model.model_copy(update=resolved), recipe.tokenizer)


def _steps(run_dir: Path, step: int | None) -> list[int]:
    """Steps of the run's checkpoints. Raises UserError where `step`, or any, is not there."""
    saved = list_checkpoints(run_dir / "checkpoints")
    if not saved:
        raise UserError(f"{run_dir}: no checkpoint to start from yet")
    if step is not None and step not in saved:
        raise UserError(f"{run_dir}: no checkpoint of step {step}; there are {', '.join(map(str, saved))}")
    return saved


def _check_same(run_dir: Path, parent: Parent | None, given: str | None) -> None:
    other = f"or start a new run with --run-dir {run_dir}-2"
    if parent is None:
        if given:
            raise UserError(f"{run_dir} began from random weights: leave --from {given} out, {other}")
        return
    began = _written(parent)
    if given is None:
        raise UserError(f"{run_dir} began from another model: say --from {began} again, {other}")
    place, step = split_step(given)
    if parent.run not in (place, str(Path(place).expanduser().resolve())) or step not in (None, parent.step):
        raise UserError(f"{run_dir} began from {began}, not from {given}: say --from {began} again, {other}")


def _written(parent: Parent) -> str:
    return f"{parent.run}@{parent.step}" if parent.step else parent.run


def _certificate(run_dir: Path) -> dict:
    try:
        return json.loads((run_dir / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _from_hub(name: str, files: list[str]) -> Path:
    """A model's files, downloaded where they are not in the hub's cache; other ranks than 0 only look there."""
    if not _HUB_NAME.fullmatch(name):
        raise UserError(f"--from {name}: no such directory, and no name that the Hugging Face hub could have")
    from huggingface_hub import snapshot_download

    only_cached = os.environ.get("RANK", "0") != "0"
    try:
        return Path(snapshot_download(name, allow_patterns=files, ignore_patterns="*/*", local_files_only=only_cached))
    except Exception as error:  # of a dozen kinds: no such name, no network, no access, a full disk
        reason = first_line(error)
        raise UserError(
            f"--from {name}: no such directory, and not to be had from the Hugging Face hub: {reason}"
        ) from None
