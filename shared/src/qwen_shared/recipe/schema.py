"""The typed recipe: every key that changes a result, with its unit, its default and its check.

Importing this costs milliseconds: no torch, no Megatron. A recipe that validates here can be built; what
depends on the number of processes is checked by `check_layout` once that number is known.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

# Keys that say how a run is carried out, not what comes out of it: a resumed run may change them.
RESULT_NEUTRAL = ("parallel.", "training.micro_batch_size", "tracking.", "checkpoint.")


def _no_text(value: Any) -> Any:
    # pydantic alone would take true for 1 and "12" for 12
    if isinstance(value, bool | str):
        raise ValueError("expected a number")
    return value


Whole = Annotated[int, Field(lt=2**63), BeforeValidator(_no_text)]
Positive = Annotated[Whole, Field(gt=0)]
Number = Annotated[float, BeforeValidator(_no_text)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Flag = Annotated[bool, Strict()]


class Section(BaseModel):
    """A part of a recipe: immutable, no unknown keys, numbers of the declared type only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Model(Section):
    """Qwen's architecture (report, section 2.3). Sizes are counts of units."""

    num_layers: Positive
    hidden_size: Positive
    num_attention_heads: Positive
    ffn_hidden_size: Positive = Field(description="width of one SwiGLU branch")
    vocab_rows: Positive | None = Field(None, description="embedding rows; default: the tokenizer's ids, up to 128·n")
    rope_base: Number = Field(10_000.0, gt=1.0)
    norm_eps: Number = Field(1e-6, gt=0.0, lt=0.1)
    init_std: Number = Field(0.02, gt=0.0, lt=1.0, description="output projections: init_std / sqrt(2 · num_layers)")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @model_validator(mode="after")
    def _check(self) -> Model:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not divisible by num_attention_heads={self.num_attention_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} / num_attention_heads={self.num_attention_heads} makes an odd head "
                f"size, {self.head_dim}, and RoPE rotates pairs"
            )
        return self


def _source_from_text(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _sources_from_text(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Source(Section):
    """Where documents come from.

    `path` is `stdlib` (the Python installation's own prose), a file or a directory (.jsonl, .jsonl.gz, .jsonl.zst,
    .parquet, .txt, .md), or `hf:NAME_OR_DIRECTORY` for a dataset read with `datasets`.
    """

    path: str = Field(min_length=1, description="stdlib, a file, a directory, or hf:NAME_OR_DIRECTORY")
    weight: Number | None = Field(None, gt=0.0, description="default: by tokens, so every token is seen equally often")
    text_key: str = Field("text", description="the field that holds the document")
    config: str | None = Field(None, description="hf: only; the dataset's configuration name")
    split: str = Field("train", description="hf: only")


class Data(Section):
    sources: Annotated[
        list[Annotated[Source, BeforeValidator(_source_from_text)]],
        BeforeValidator(_sources_from_text),
        Field(min_length=1, description="one source or a list; a path alone is short for {path: …}"),
    ]
    seq_length: Positive = Field(description="tokens per sample")
    validation_share: Share = Field(0.01, description="of the documents, whole; 1 to evaluate on all of a text")
    validation_max_bytes: Positive = Field(4_000_000, description="hold out no more UTF-8 bytes than this per source")
    documents: Positive | None = Field(None, description="read at most this many documents of each source")


class Parallel(Section):
    """How the work is divided. The data-parallel size is what is left of the processes."""

    tensor_parallel: Positive = 1
    pipeline_parallel: Positive = 1
    distributed_optimizer: Flag = Field(False, description="each data-parallel rank keeps a part of the optimizer")


class Training(Section):
    steps: Positive
    global_batch_size: Positive = Field(description="samples of seq_length tokens per step")
    micro_batch_size: Positive = Field(1, description="samples per forward pass and data-parallel rank")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the hardware speeds it up")


class Optimizer(Section):
    lr: Number = Field(gt=0.0, description="the schedule's peak")
    beta1: Number = Field(0.9, ge=0.0, lt=1.0)
    beta2: Number = Field(0.95, ge=0.0, lt=1.0)
    eps: Number = Field(1e-8, gt=0.0)
    weight_decay: Number = Field(0.1, ge=0.0, description="not on biases and norms")
    clip_grad: Number = Field(1.0, ge=0.0, description="global norm; 0 turns clipping off")


class Schedule(Section):
    """Learning rate over steps: linear warm-up, then `kind`."""

    kind: Literal["cosine", "constant", "linear", "wsd"] = "cosine"
    warmup_steps: Whole = Field(0, ge=0)
    min_lr_ratio: Share = Field(0.1, description="the floor, as a share of the peak")
    decay_steps: Positive | None = Field(None, description="wsd only: the last, falling part; default: steps / 10")


class Checkpoint(Section):
    interval: Positive = Field(description="steps between checkpoints")
    keep_last: Positive = 2
    keep_every: Positive | None = Field(None, description="also keep each step divisible by this")


class Evaluation(Section):
    interval: Positive = Field(description="steps between validations; the last step is always validated")
    max_tokens: Positive | None = Field(None, description="validation tokens at intervals; the last step uses all")
    lengths: list[Positive] = Field([], description="context lengths of `evaluate`'s perplexity; default: seq_length")
    prompts: list[str] = Field([], description="continued at every validation, to be read")
    sample_tokens: Positive = 48
    temperature: Number = Field(0.8, ge=0.0)


class Tracking(Section):
    wandb: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online where a key is set, else offline"
    )
    project: str = Field("qwen", min_length=1)
    log_interval: Positive = Field(1, description="steps between lines of metrics.jsonl")


class PretrainRecipe(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the run's directory")
    seed: Whole = Field(1234, ge=0, le=2**32 - 1)
    tokenizer: str = Field("default", min_length=1, description="default, dashscope, a .tiktoken file or a directory")
    model: Model
    data: Data
    parallel: Parallel = Parallel.model_construct()
    training: Training
    optimizer: Optimizer
    schedule: Schedule = Schedule.model_construct()
    checkpoint: Checkpoint
    evaluation: Evaluation
    tracking: Tracking = Tracking.model_construct()
    export: Literal["final", "every", "none"] = Field("final", description="which checkpoints get a Hugging Face form")

    @model_validator(mode="after")
    def _check(self) -> PretrainRecipe:
        model, parallel = self.model, self.parallel
        tp, pp = parallel.tensor_parallel, parallel.pipeline_parallel
        for key in ("num_attention_heads", "ffn_hidden_size"):
            if getattr(model, key) % tp:
                raise ValueError(f"model.{key}={getattr(model, key)} is not divisible by parallel.tensor_parallel={tp}")
        if model.vocab_rows and model.vocab_rows % tp:
            raise ValueError(f"model.vocab_rows={model.vocab_rows} is not divisible by parallel.tensor_parallel={tp}")
        if model.num_layers % pp:
            raise ValueError(f"model.num_layers={model.num_layers} is not divisible by parallel.pipeline_parallel={pp}")
        if self.training.global_batch_size % self.training.micro_batch_size:
            raise ValueError(
                f"training.global_batch_size={self.training.global_batch_size} is not a multiple of "
                f"training.micro_batch_size={self.training.micro_batch_size}"
            )
        steps = self.training.steps
        if self.schedule.warmup_steps >= steps:
            raise ValueError(
                f"schedule.warmup_steps={self.schedule.warmup_steps} leaves nothing of training.steps={steps}"
            )
        if self.schedule.decay_steps is not None:
            if self.schedule.kind != "wsd":
                raise ValueError(
                    f"schedule.decay_steps={self.schedule.decay_steps} is for schedule.kind=wsd, "
                    f"not {self.schedule.kind}"
                )
            if self.schedule.decay_steps > steps - self.schedule.warmup_steps:
                raise ValueError(
                    f"schedule.decay_steps={self.schedule.decay_steps} is longer than the "
                    f"{steps - self.schedule.warmup_steps} steps after warm-up"
                )
        return self
