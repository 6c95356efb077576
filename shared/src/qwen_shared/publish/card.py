"""The model card, README.md: made of what was measured and of nothing else. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qwen_shared.publish.card_evaluation import evaluation_section
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.evaluation import Quantised, Results, gains, tokens_of, with_intervals
from qwen_shared.publish.markdown import code, duration, fenced, folded, interval, plain, share, size, table
from qwen_shared.publish.provenance import DataRow, ParentRow, reward_model_row
from qwen_shared.recipe.yaml_text import dump_yaml

CARD = "README.md"
_LEFT_OUT = ("tracking", "checkpoint", "tokenizer")  # keys of a recipe that do not change the model
_TEXTS = ("prompts", "system")  # keys whose values are not paths
_WEB = re.compile(r"https?://[^\s<>]+")


@dataclass(frozen=True)
class CardFacts:
    checkpoint: Checkpoint
    results: Results
    parents: list[ParentRow]
    data: list[DataRow]
    parameters: int
    dtype: str
    licence: str | None
    certificate: dict[str, Any]
    quantised: Quantised | None = None


def card(facts: CardFacts) -> str:
    sections = {
        None: _head(facts),
        "Use": _use(facts.checkpoint),
        "Evaluation": evaluation_section(facts.checkpoint, facts.results),
        "Quantised variants": _quantised(facts),
        "Training": _training(facts),
        "Data": _data(facts),
        "Lineage": _lineage(facts),
        "Limits": "\n".join(f"- {line}" for line in _limits(facts)),
        "Parity": _parity(facts),
        "Licence": _licence(facts),
    }
    return _front_matter(facts) + "\n".join(
        (f"## {title}\n\n" if title else "") + text.strip() + "\n" for title, text in sections.items() if text
    )


# ---- sections

_BASE_CODE = """from transformers import AutoModelForCausalLM, AutoTokenizer

path = "."  # this directory, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
inputs = tokenizer("Return the number of", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))
"""
_CHAT_CODE = """from transformers import AutoModelForCausalLM, AutoTokenizer

path = "."  # this directory, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
messages = MESSAGES
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""
_REWARD_CODE = """from transformers import AutoModelForSequenceClassification, AutoTokenizer

path = "."  # this directory, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForSequenceClassification.from_pretrained(path, dtype="auto")
messages = MESSAGES
text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()  # the reward is read at the end token
inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False, return_token_type_ids=False)
print(model(**inputs).logits.item())
"""


def _front_matter(facts: CardFacts) -> str:
    head: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if facts.checkpoint.kind.model == "reward" else "text-generation",
        "tags": [facts.checkpoint.kind.name],
    }
    if facts.licence:
        head["license"] = facts.licence
    if (root := next(iter(facts.parents), None)) and root.on_hub:
        head["base_model"] = root.name
    return f"---\n{dump_yaml(head)}---\n\n"


def _head(facts: CardFacts) -> str:
    checkpoint = facts.checkpoint
    return (
        f"# {plain(checkpoint.title)}\n\n{checkpoint.kind.summary} {facts.parameters:,} parameters in {facts.dtype}; "
        f"trained on up to {_length(facts):,} tokens at a time. This is step {checkpoint.step:,} of the run."
    )


def _use(checkpoint: Checkpoint) -> str:
    kind = checkpoint.kind
    if kind.model == "base":
        return fenced(_BASE_CODE, "python")
    system = checkpoint.recipe["data"].get("system")
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": kind.example})
    if kind.model == "reward":
        turns.append({"role": "assistant", "content": "Hello! What can I do for you?"})
    messages = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in turns)
    template = _REWARD_CODE if kind.model == "reward" else _CHAT_CODE
    note = "The system turn is the one it was trained with.\n\n" if system is not None else ""
    return note + fenced(template.replace("MESSAGES", f"[\n{messages}]"), "python")


def _quantised(facts: CardFacts) -> str:
    if facts.quantised is None:
        return ""
    q = facts.quantised
    cells = [["unquantised", size(q.bytes), f"{q.loss:.4f}", ""]]
    cells += [[f"[{v.name}]({v.name})", size(v.bytes), f"{v.loss:.4f}", f"{v.loss - q.loss:+.4f}"] for v in q.variants]
    return (
        table(["variant", "weights", "loss", "cost"], cells)
        + f"\n\nNats per token on {q.tokens:,} held-out tokens of the training data. Weights of the linear layers are "
        "rounded to the nearest step, embeddings and the output layer stay. Install `compressed-tensors`, then "
        'load one with `from_pretrained(path, subfolder="int8")`.'.replace("int8", q.variants[0].name)
    )


def _training(facts: CardFacts) -> str:
    checkpoint, results = facts.checkpoint, facts.checkpoint.manifest.results
    recipe, manifest = checkpoint.recipe, checkpoint.manifest
    training = recipe.get("training", {})
    mine, earlier = tokens_of(checkpoint), _tokens_before(facts)
    rows = [["job", f"{code(manifest.command)}, recipe {code(manifest.name)}, seed {recipe.get('seed')}"]]
    rows.append(["steps", f"{checkpoint.step:,} of {training.get('global_batch_size', '?')} samples"])
    if mine:
        rows.append(["tokens", f"{mine:,}" + (f", after {earlier:,} of the models before it" if earlier else "")])
    rows.append(["learning rate", ", ".join(_rates(recipe))])
    rows.append(["precision", manifest.precision or ""])
    if checkpoint.is_last and "seconds" in results:
        rows.append(["time", duration(results["seconds"])])
    rows.append(["machine", plain(manifest.machine or "")])
    rows.append(["software", plain(", ".join(f"{k} {v}" for k, v in manifest.versions.items()))])
    if manifest.git_commit:
        rows.append(["commit", code(manifest.git_commit) + (", with changes" * manifest.git_commit.endswith("+"))])
    rows.append(["started", plain(manifest.created)])
    if link := _wandb(facts):
        rows.append(["W&B", link])
    shown = {key: value for key, value in recipe.items() if key not in _LEFT_OUT}
    return (
        table(["", ""], [row for row in rows if row[1]])
        + "\n\n"
        + folded("The recipe", fenced(dump_yaml(_without_directories(shown)), "yaml"))
    )


def _data(facts: CardFacts) -> str:
    rows = [
        [plain(row.name), row.amount, code(row.sha256[:16]) if row.sha256 else "", plain(row.licence or "not stated")]
        for row in facts.data
    ]
    return table(["source", "amount", "sha256", "licence"], rows) + (
        "\n\nHashes are those of the tokenised training part, whole in `certificate.json`."
        if any(row.sha256 for row in facts.data)
        else ""
    )


def _lineage(facts: CardFacts) -> str:
    checkpoint = facts.checkpoint
    lines = [_parent(row) for row in facts.parents]
    if not facts.parents or facts.parents[0].is_run:
        lines.insert(0, "Random weights")
    lines.append(
        f"**{plain(checkpoint.title)}** at step {checkpoint.step:,}, weights `{facts.certificate['hash'][:16]}`"
    )
    numbered = "\n".join(f"{i}. {line}" for i, line in enumerate(lines, start=1))
    if reward := reward_model_row(checkpoint):
        return f"{numbered}\n\n{checkpoint.kind.method}'s rewards came from {_parent(reward)}."
    return numbered


def _parent(row: ParentRow) -> str:
    at = f" at step {row.step:,}" if row.step else ""
    trained = f", {row.tokens:,} tokens" if row.tokens else ""
    hashed = f", weights {code(row.hash[:16])}" if row.hash else ""
    licence = f", licence {plain(row.licence)}" if row.licence else ""
    return f"{plain(row.name)}{at}{trained}{hashed}{licence}"


def _limits(facts: CardFacts) -> Iterable[str]:
    checkpoint, kind = facts.checkpoint, facts.checkpoint.kind
    mine, before = tokens_of(checkpoint), _tokens_before(facts)
    if before is not None and (tokens := before + int(mine or 0)):
        counted = "" if mine else ", this last run not counted"
        yield (
            f"It has {facts.parameters:,} parameters and saw {tokens:,} tokens in all{counted}, "
            f"{tokens / facts.parameters:,.1f} per parameter, which limits what it can know."
        )
    yield f"It was trained on at most {_length(facts):,} tokens at a time."
    if kind.model == "base":
        yield "It continues text. Nobody taught it to answer, to follow instructions or to stop."
    elif kind.model == "reward":
        yield "Its numbers compare answers to one prompt. Alone, or between prompts, they mean nothing."
    else:
        taught = ", ".join(plain(row.name) for row in facts.data)
        yield f"It learned from {taught}, and from nothing unlike that."
    measured = with_intervals(facts.results)
    if measured and (worst := min(measured, key=lambda row: row.value)).value < 0.5:
        yield f"It fails at {plain(worst.task)}: {share(worst.value)} ({interval(worst.low, worst.high)})."
    for row in gains(facts.results):
        if row.high < 0:
            change = f"{row.value:+.3f} ({row.low:+.3f} … {row.high:+.3f})"
            yield f"{kind.method} made {plain(row.task)} worse: {change}."
    if not checkpoint.is_last:
        yield "It is not the run's last checkpoint; results of the last one are not shown here."
    yield "Nobody measured whether what it says is safe, fair or true."


def _parity(facts: CardFacts) -> str:
    parity = facts.certificate["parity"]
    tensors, logits, ids = parity["tensors"], parity["logits"], parity["tokenizer"]
    equal = "bit for bit" if tensors["bit_equal"] else f"within {tensors['max_difference']:.0e} of their largest"
    layers = f"{logits['layers']} layers, " if "layers" in logits else ""
    return (
        f"These files were read back from the disk and compared with the run's checkpoint: {tensors['compared']} "
        f"tensors equal {equal}; outputs within {logits['max_difference']:.1e} ({layers}{logits['precision']}, "
        f"tolerance {logits['tolerance']:.0e} of the largest); {ids['ids']:,} token ids of {ids['texts']} texts equal "
        "to the trainer's. `certificate.json` has the details; `sha256sum -c SHA256SUMS` checks the files."
    )


def _licence(facts: CardFacts) -> str:
    weights = (
        f"Weights: **{plain(facts.licence)}**."
        if facts.licence
        else "The publisher named no licence for the weights: ask before you use them."
    )
    began = [f"It started from {plain(a.name)}, licence {plain(a.licence)}." for a in facts.parents if a.licence]
    licences = dict.fromkeys(plain(row.licence or "not stated") for row in facts.data)
    return " ".join([weights, *began, f"Data: {', '.join(licences)}."] if licences else [weights, *began])


# ---- parts of sections


def _tokens_before(facts: CardFacts) -> int | None:
    """Tokens that the models before it saw; None unless known of all."""
    seen = [row.tokens for row in facts.parents]
    known = [tokens for tokens in seen if tokens is not None]
    return sum(known) if len(known) == len(seen) else None


def _length(facts: CardFacts) -> int:
    """A sample may pack several texts that do not see each other; no text is longer than the model's positions."""
    recipe = facts.checkpoint.recipe
    length = recipe["data"]["seq_length"]
    return min(length, recipe["model"].get("max_positions") or length)


def _rates(recipe: dict[str, Any]) -> Iterable[str]:
    if "optimizer" in recipe:
        schedule = recipe.get("schedule", {})
        warmup = schedule.get("warmup_steps", 0)
        yield f"{recipe['optimizer']['lr']:g}, {schedule.get('kind')}, {warmup} steps of warm-up"
    for part in ("policy", "value"):
        if part in recipe:
            yield f"{part} {recipe[part]['lr']:g}"


def _wandb(facts: CardFacts) -> str:
    manifest = facts.checkpoint.manifest
    if url := manifest.wandb_url:
        return f"[{plain(str(manifest.wandb_run_id))}](<{url}>)" if _WEB.fullmatch(url) else plain(url)
    project = facts.checkpoint.recipe.get("tracking", {}).get("project")
    return f"run {code(manifest.wandb_run_id)} of project {code(str(project))}" if manifest.wandb_run_id else ""


def _without_directories(value: Any) -> Any:
    """Paths shortened to their last part."""
    if isinstance(value, dict):
        return {key: part if key in _TEXTS else _without_directories(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_directories(part) for part in value]
    if isinstance(value, str) and value.startswith(("/", "~/", "../")):
        return value.rstrip("/").rpartition("/")[2]
    return value
