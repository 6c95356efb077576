"""The parent model of a run: what `--from` names, and what the run keeps of it. No torch.

`--from` brings weights and a tokenizer. The run keeps the model in its recipe, the tokenizer in `tokenizer/`, name,
step and hash in the manifest, and the proof in `import.json`.
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

# A tokenizer may have this many more ids than the model has rows, for ChatML or other added tokens.
_ADDED_IDS = 256

# A recipe may change these: they do not change what a stored weight means.
_CHANGEABLE = ("padded_vocab_size", "max_positions", "rope_base", "rope_scaling")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.jinja", "*.tiktoken"]  # never pickles, never code


@dataclass(frozen=True)
class ParentModel:
    name: str  # absolute path of a run or a Hugging Face directory, or a name on the hub
    step: int | None  # of a run's checkpoint
    model: Model  # `padded_vocab_size` covers all ids of the tokenizer
    tokenizer: str  # for `load_tokenizer`

    @property
    def rows(self) -> int:
        return self.model.padded_vocab_size or 0

    def __str__(self) -> str:
        return f"{self.name}@{self.step}" if self.step else self.name

    def fetch(self) -> Path:
        """The weights in Hugging Face form, exported or downloaded first if necessary. Rank 0 calls this first."""
        directory = Path(self.name)
        if (directory / RECIPE).is_file():
            return exported(directory, self.step)
        return directory if directory.is_dir() else _from_hub(self.name, [*_HUB_FILES, "*.safetensors"])


@dataclass(frozen=True)
class DefaultParent:
    """The run that a job starts from without --from: the one with the same recipe name."""

    run_dir: Path
    command: str  # that makes it

    def finished_run(self) -> Path:
        """Raises UserError if there is none."""
        made = f"`{self.command}` makes it, or --from names another model"
        if not (self.run_dir / MANIFEST).is_file():
            raise UserError(f"{self.run_dir}: no run there to start from; {made}")
        status = Manifest.read(self.run_dir).status
        if status != "finished":
            raise UserError(f"{self.run_dir}: the run to start from is {status}, not finished; {made}")
        return self.run_dir


def split_step(text: str, flag: str = "--from ") -> tuple[str, int | None]:
    """RUN@STEP to RUN and STEP; any other text to itself and None. Raises UserError if STEP is not a number; `flag` is
    for the message."""
    place, at, step = text.rpartition("@")
    if not at or Path(text).exists():
        return text, None
    number = whole_number(step)
    if not number:
        raise UserError(f"{flag}{text}: '{step}' is not a step; write RUN@STEP, for example {place}@100")
    return place, number


def find_parent(run_dir: Path, given: str | None, default: DefaultParent | None = None) -> ParentModel | None:
    """The parent of the run in `run_dir`, if `given` is its --from; None for random weights.

    `default` is taken if none is given. A run with checkpoints does not need its parent's directory any more. Raises
    UserError if the run began from another model, or if the model cannot be used.
    """
    if (run_dir / MANIFEST).is_file():
        manifest = Manifest.read(run_dir)
        # Before its first step a run may still begin from another model, but not silently from random weights.
        if (given or not default) and (has_trained(run_dir) or (manifest.parent and not given)):
            _check_same(run_dir, manifest.parent, given)
        if manifest.parent and (manifest.status == "finished" or list_checkpoints(run_dir / "checkpoints")):
            recipe = read_recipe(run_dir, TrainedModel)
            return ParentModel(manifest.parent.run, manifest.parent.step, recipe.model, recipe.tokenizer)
        if manifest.parent and default and not given:
            given = _as_text(manifest.parent)  # resolved once
    if not given and default:
        given = str(default.finished_run())
    return resolve_parent(given) if given else None


def resolve_parent(text: str) -> ParentModel:
    """`text` is a run, RUN@STEP, a Hugging Face directory or a name on the hub. Raises UserError if the model cannot be
    trained."""
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
    rows = model.padded_vocab_size or 0
    if ids > rows + _ADDED_IDS:
        raise UserError(
            f"--from {text}: its tokenizer has {ids:,} ids and its embedding {rows:,} rows: they are not of one model; "
            "put the right tokenizer beside it"
        )
    if ids > rows:  # tokens were added
        model = model.model_copy(update={"padded_vocab_size": -(-ids // 128) * 128})
    return ParentModel(name, None, model, str(directory))


def recipe_from[R: RunRecipe](
    parent: ParentModel, schema: type[R], config: str, overrides: list[str], recipes: Path, run_dir: Path
) -> R:
    """The recipe with the parent's `model` and `tokenizer`. Raises UserError if overrides contradict them."""
    model = parent.model.model_dump(mode="json")
    # Of the recipe file's own model section, only a longer context applies to a parent's weights.
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
    rows = recipe.model.padded_vocab_size
    if (rows or 0) < parent.rows:
        raise UserError(
            f"model.padded_vocab_size={rows}: --from {parent} has {parent.rows} rows; there may be more, not fewer"
        )
    positions = recipe.model.max_positions or recipe.data.seq_length
    # In a packed sample each conversation has its own positions, so only pretraining needs the check.
    if recipe.data.seq_length > positions and not isinstance(recipe, SftRecipe):
        raise UserError(
            f"data.seq_length={recipe.data.seq_length} is more than the {positions} positions of --from {parent}; "
            f"to stretch them, set model.max_positions={recipe.data.seq_length}"
        )
    if (
        isinstance(recipe, PretrainRecipe)
        and carries_optimizer(recipe)
        and not list_checkpoints(run_dir / "checkpoints")
    ):
        _check_carried(parent, recipe)
    return recipe.model_copy(update={"tokenizer": str(run_dir / TOKENIZER)})


def carries_optimizer(recipe: RunRecipe) -> bool:
    """Whether a new run starts with its parent's optimizer state."""
    return isinstance(recipe, PretrainRecipe) and recipe.init.optimizer == "carry"


def _check_carried(parent: ParentModel, recipe: PretrainRecipe) -> None:
    """Raises UserError if the parent has no optimizer state that fits."""
    run_dir, said = Path(parent.name), f"init.optimizer=carry: {parent}"
    if not (run_dir / RECIPE).is_file():
        raise UserError(f"{said} is no run, so it has no optimizer state; init.optimizer=fresh starts without")
    saved = list_checkpoints(run_dir / "checkpoints")
    if parent.step not in saved:
        there = ", ".join(map(str, saved)) or "none"
        raise UserError(f"{said}: that run's checkpoint is not there any more (there: {there})")
    needed = recipe.model.padded_vocab_size
    if parent.rows != needed:
        raise UserError(f"{said} has {parent.rows} embedding rows, and so has its optimizer's state: not {needed}")
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
    stored_rows = read_model(directory).padded_vocab_size or 0
    if stored_rows < parent.rows:
        say(f"model  {stored_rows:,} embedding rows grow to {parent.rows:,} for the tokenizer's ids")
    tensors, logits = certificate["tensors"], certificate["logits"]
    say(
        f"from   {parent}: {tensors['compared']} tensors bit-equal there and back, logits of {logits['layers']} layers "
        f"within {logits['max_difference']:.1e} of transformers' in fp32"
    )


def write_import_certificate(directory: str, tokenizer: str, digest: str, certificate: str) -> None:
    """For `in_own_process`."""
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
    """A run's checkpoint (default: the last) in Hugging Face form, exported first if necessary."""
    found = find_export(run_dir, step)
    if found is not None:
        return found
    saved = _steps(run_dir, step)
    if not (checkpoint_path(run_dir / "checkpoints", step or saved[-1]) / "metadata.json").is_file():
        # Checkpoints of reward models and PPO are not Megatron's.
        raise UserError(f"{run_dir}: its model is exported when the run ends, and only that of the last step")
    step = step or saved[-1]
    # RUN/export may hold a later step whose checkpoint is gone; it stays.
    is_last = step == saved[-1] and step >= (exported_step(export_directory(run_dir)) or 0)
    target = export_directory(run_dir, None if is_last else step)
    require_whole(run_dir / "checkpoints", step)
    from qwen_shared.job.export import export_step  # brings torch

    in_own_process(export_step, run_dir, step, target)
    return target


def hf_directory(text: str) -> Path:
    """The Hugging Face model that --from names, downloaded if necessary. Raises UserError if there is none."""
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
    """Steps of the run's checkpoints. Raises UserError if there is none, or not `step`."""
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
    began = _as_text(parent)
    if given is None:
        raise UserError(f"{run_dir} began from another model: say --from {began} again, {other}")
    place, step = split_step(given)
    if parent.run not in (place, str(Path(place).expanduser().resolve())) or step not in (None, parent.step):
        raise UserError(f"{run_dir} began from {began}, not from {given}: say --from {began} again, {other}")


def _as_text(parent: Parent) -> str:
    return f"{parent.run}@{parent.step}" if parent.step else parent.run


def _certificate(run_dir: Path) -> dict:
    try:
        return json.loads((run_dir / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _from_hub(name: str, files: list[str]) -> Path:
    """A model's files, from the hub's cache or downloaded; other ranks than 0 only read the cache."""
    if not _HUB_NAME.fullmatch(name):
        raise UserError(f"--from {name}: no such directory, and no name that the Hugging Face hub could have")
    from huggingface_hub import snapshot_download

    only_cached = os.environ.get("RANK", "0") != "0"
    try:
        return Path(snapshot_download(name, allow_patterns=files, ignore_patterns="*/*", local_files_only=only_cached))
    except Exception as error:  # no such name, no network, no access, a full disk, …
        reason = first_line(error)
        raise UserError(
            f"--from {name}: no such directory, and not to be had from the Hugging Face hub: {reason}"
        ) from None
