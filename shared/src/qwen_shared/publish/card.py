"""The model card: README.md, made of what was measured and of nothing else. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qwen_shared.publish.card_evaluation import evaluation_section
from qwen_shared.publish.card_use import use_section
from qwen_shared.publish.data_table import DataRow
from qwen_shared.publish.evaluation import Figures, Quantised, gains, tokens_of, with_intervals
from qwen_shared.publish.lineage import Forebear, judge
from qwen_shared.publish.markdown import code, duration, fenced, folded, interval, plain, share, size, table
from qwen_shared.publish.subject import Subject
from qwen_shared.recipe.yaml_text import dump_yaml

CARD = "README.md"
REWARD = "chat-reward"

_WHAT = {
    "base-pretrain": "A base language model: it continues text.",
    "code-pretrain": "A base language model that went on with code: it continues programs and text.",
    "code-sft": "A language model that writes functions as they are described.",
    "math-sft": "A language model that answers questions of mathematics step by step.",
    "chat-sft": "A language model that converses.",
    "chat-ppo": "A language model that converses, taught by PPO what a reward model or reward functions prefer.",
    REWARD: "A reward model: it gives a conversation one number, the higher the better its last answer.",
}
# Keys of a recipe that say where and how a run was carried out, and nothing about what came of it.
_NOT_SHOWN = ("tracking", "checkpoint", "tokenizer")
_TEXTS = ("prompts", "system")  # keys whose values are no paths, whatever they begin with
_WEB = re.compile(r"https?://[^\s<>]+")


@dataclass(frozen=True)
class Facts:
    """All that a card is made of."""

    subject: Subject
    figures: Figures
    forebears: list[Forebear]
    data: list[DataRow]
    parameters: int
    dtype: str
    licence: str | None
    certificate: dict[str, Any]
    quantised: Quantised | None = None

    @property
    def is_reward(self) -> bool:
        return self.subject.kind == REWARD

    @property
    def is_base(self) -> bool:
        return self.subject.kind.endswith("-pretrain")


def card(facts: Facts) -> str:
    sections = {
        None: _head(facts),
        "Use": use_section(facts.subject.kind, facts.subject.recipe),
        "Evaluation": evaluation_section(facts.subject, facts.figures),
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


def _front_matter(facts: Facts) -> str:
    said: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if facts.is_reward else "text-generation",
        "tags": [facts.subject.kind],
    }
    if facts.licence:
        said["license"] = facts.licence
    if (root := next(iter(facts.forebears), None)) and root.on_hub:
        said["base_model"] = root.name
    return f"---\n{dump_yaml(said)}---\n\n"


def _head(facts: Facts) -> str:
    subject = facts.subject
    what = _WHAT.get(subject.kind, "A language model.")
    return (
        f"# {plain(subject.title)}\n\n{what} {facts.parameters:,} parameters in {facts.dtype}; trained on up to "
        f"{_length(facts):,} tokens at a time. This is step {subject.step:,} of the run."
    )


def _quantised(facts: Facts) -> str:
    if facts.quantised is None:
        return ""
    q = facts.quantised
    cells = [["as it is", size(q.bytes), f"{q.loss:.4f}", ""]]
    cells += [[f"[{v.name}]({v.name})", size(v.bytes), f"{v.loss:.4f}", f"{v.loss - q.loss:+.4f}"] for v in q.variants]
    return (
        table(["variant", "weights", "loss", "costs"], cells)
        + f"\n\nNats per token on {q.tokens:,} held-out tokens of the training data. Weights of the linear layers are "
        "rounded to the nearest, embeddings and the output layer stay. `compressed-tensors` has to be installed; "
        'load one with `from_pretrained(path, subfolder="int8")`.'.replace("int8", q.variants[0].name)
    )


def _training(facts: Facts) -> str:
    subject, results = facts.subject, facts.subject.manifest.results
    recipe, manifest = subject.recipe, subject.manifest
    training = recipe.get("training", {})
    mine, earlier = tokens_of(subject), _tokens_before(facts)
    rows = [["job", f"{code(manifest.command)}, recipe {code(manifest.name)}, seed {recipe.get('seed')}"]]
    rows.append(["steps", f"{subject.step:,} of {training.get('global_batch_size', '?')} samples"])
    if mine:
        rows.append(["tokens", f"{mine:,}" + (f", after {earlier:,} of the models before it" if earlier else "")])
    rows.append(["learning rate", ", ".join(_rates(recipe))])
    rows.append(["precision", manifest.precision or ""])
    if subject.is_last and "seconds" in results:
        rows.append(["time", duration(results["seconds"])])
    rows.append(["machine", plain(manifest.machine or "")])
    rows.append(["software", plain(", ".join(f"{k} {v}" for k, v in manifest.versions.items()))])
    if manifest.git_commit:
        rows.append(["commit", code(manifest.git_commit) + (", with changes" * manifest.git_commit.endswith("+"))])
    rows.append(["began", plain(manifest.created)])
    if link := _wandb(facts):
        rows.append(["W&B", link])
    shown = {key: value for key, value in recipe.items() if key not in _NOT_SHOWN}
    return (
        table(["", ""], [row for row in rows if row[1]])
        + "\n\n"
        + folded("The recipe", fenced(dump_yaml(_private(shown)), "yaml"))
    )


def _data(facts: Facts) -> str:
    rows = [
        [plain(row.name), row.amount, code(row.sha256[:16]) if row.sha256 else "", plain(row.licence or "not stated")]
        for row in facts.data
    ]
    return table(["source", "amount", "sha256", "licence"], rows) + (
        "\n\nHashes are those of the tokenised training part, whole in `certificate.json`."
        if any(row.sha256 for row in facts.data)
        else ""
    )


def _lineage(facts: Facts) -> str:
    subject = facts.subject
    lines = [_told(forebear) for forebear in facts.forebears]
    if not facts.forebears or facts.forebears[0].is_run:
        lines.insert(0, "Random weights")
    lines.append(f"**{plain(subject.title)}** at step {subject.step:,}, weights `{facts.certificate['hash'][:16]}`")
    numbered = "\n".join(f"{i}. {line}" for i, line in enumerate(lines, start=1))
    judged = judge(subject)
    return numbered + (f"\n\nWhat PPO was given came from {_told(judged)}." if judged else "")


def _told(forebear: Forebear) -> str:
    at = f" at step {forebear.step:,}" if forebear.step else ""
    trained = f", {forebear.tokens:,} tokens" if forebear.tokens else ""
    hashed = f", weights {code(forebear.hash[:16])}" if forebear.hash else ""
    licence = f", licence {plain(forebear.licence)}" if forebear.licence else ""
    return f"{plain(forebear.name)}{at}{trained}{hashed}{licence}"


def _limits(facts: Facts) -> Iterable[str]:
    subject, mine, before = facts.subject, tokens_of(facts.subject), _tokens_before(facts)
    if before is not None and (tokens := before + int(mine or 0)):
        counted = "" if mine else ", this last run not counted"
        yield (
            f"It has {facts.parameters:,} parameters and saw {tokens:,} tokens in all{counted}, "
            f"{tokens / facts.parameters:,.1f} a parameter: judge what it can know by that."
        )
    yield f"It was not trained on more than {_length(facts):,} tokens at a time."
    if facts.is_base:
        yield "It continues text. Nobody taught it to answer, to follow instructions or to stop."
    elif facts.is_reward:
        yield "Its numbers compare answers to one prompt. Alone, or between prompts, they mean nothing."
    else:
        taught = ", ".join(plain(row.name) for row in facts.data)
        yield f"It was taught by {taught}; what is unlike that, it was not taught."
    measured = with_intervals(facts.figures)
    if measured and (worst := min(measured, key=lambda row: row.value)).value < 0.5:
        yield f"It fails at {plain(worst.task)}: {share(worst.value)} ({interval(worst.low, worst.high)})."
    for row in gains(facts.figures):
        if row.high < 0:
            yield f"PPO made {plain(row.task)} worse: {row.value:+.3f} ({row.low:+.3f} … {row.high:+.3f})."
    if not subject.is_last:
        yield "It is not the run's last checkpoint: what was measured of that one is not said here."
    yield "Nobody measured whether what it says is safe, fair or true."


def _parity(facts: Facts) -> str:
    parity = facts.certificate["parity"]
    tensors, logits, ids = parity["tensors"], parity["logits"], parity["tokenizer"]
    equal = "bit for bit" if tensors["bit_equal"] else f"within {tensors['max_difference']:.0e} of their largest"
    layers = f"{logits['layers']} layers, " if "layers" in logits else ""
    return (
        f"These files were read back from the disk and compared with the run's checkpoint: {tensors['compared']} "
        f"tensors equal {equal}; outputs within {logits['max_difference']:.1e} ({layers}{logits['precision']}, "
        f"tolerance {logits['tolerance']:.0e} of the largest); {ids['ids']:,} token ids of {ids['texts']} texts equal "
        "to the trainer's. `certificate.json` has it all; `sha256sum -c SHA256SUMS` checks the files."
    )


def _licence(facts: Facts) -> str:
    said = (
        f"Of the weights: **{plain(facts.licence)}**."
        if facts.licence
        else ("Whoever published this did not say under which licence the weights are: ask before you use them.")
    )
    began = [f"It began from {plain(a.name)}, licence {plain(a.licence)}." for a in facts.forebears if a.licence]
    data = dict.fromkeys(plain(row.licence or "not stated") for row in facts.data)
    return " ".join([said, *began, f"Of the data: {', '.join(data)}."] if data else [said, *began])


# ---- words


def _tokens_before(facts: Facts) -> int | None:
    """What the models before it saw; None where that is not known of all of them."""
    seen = [forebear.tokens for forebear in facts.forebears]
    known = [tokens for tokens in seen if tokens is not None]
    return sum(known) if len(known) == len(seen) else None


def _length(facts: Facts) -> int:
    """Samples may hold several texts that do not see each other; none of them is longer than the model's positions."""
    recipe = facts.subject.recipe
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


def _wandb(facts: Facts) -> str:
    manifest = facts.subject.manifest
    if url := manifest.wandb_url:
        return f"[{plain(str(manifest.wandb_run_id))}](<{url}>)" if _WEB.fullmatch(url) else plain(url)
    project = facts.subject.recipe.get("tracking", {}).get("project")
    return f"run {code(manifest.wandb_run_id)} of project {code(str(project))}" if manifest.wandb_run_id else ""


def _private(value: Any) -> Any:
    """Paths without the directories above them."""
    if isinstance(value, dict):
        return {key: part if key in _TEXTS else _private(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_private(part) for part in value]
    if isinstance(value, str) and value.startswith(("/", "~/", "../")):
        return value.rstrip("/").rpartition("/")[2]
    return value
