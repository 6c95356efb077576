"""The typed recipe: every key that changes a result, with its unit, default and check.

A recipe that validates can be built; `check_layout` checks it against a number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

# Keys that do not change results: a resumed run may change them.
RESULT_NEUTRAL = ("parallel.", "training.micro_batch_size", "tracking.", "checkpoint.", "guards.")


def _no_text(value: Any) -> Any:
    # pydantic would accept true as 1 and "12" as 12
    if isinstance(value, bool | str):
        raise ValueError("expected a number")
    return value


Whole = Annotated[int, Field(lt=2**63), BeforeValidator(_no_text)]
Positive = Annotated[Whole, Field(gt=0)]
Number = Annotated[float, BeforeValidator(_no_text)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Flag = Annotated[bool, Strict()]


class Section(BaseModel):
    """A part of a recipe: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class RopeScaling(Section):
    """Llama 3's: frequencies with less than `low_freq_factor` turns in the original context are divided by `factor`,
    those with more than `high_freq_factor` stay, those between are blended."""

    factor: Number = Field(gt=1.0)
    low_freq_factor: Number = Field(1.0, gt=0.0)
    high_freq_factor: Number = Field(4.0, gt=0.0)
    original_positions: Positive = Field(8192, description="context length before scaling")

    @model_validator(mode="after")
    def _check(self) -> RopeScaling:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor={self.low_freq_factor:g} must be less than high_freq_factor={self.high_freq_factor:g}"
            )
        return self


class Model(Section):
    """By default Qwen's (report, section 2.3). Qwen to Qwen2.5 have a bias on query, key and value; Qwen3 has `qk_norm`
    instead; Llama has neither."""

    num_layers: Positive
    hidden_size: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive | None = Field(None, description="grouped-query attention; default: all heads")
    head_dim: Positive | None = Field(None, description="default: hidden_size / num_attention_heads")
    ffn_hidden_size: Positive = Field(description="width of one SwiGLU branch")
    qkv_bias: Flag = True
    qk_norm: Flag = Field(False, description="RMSNorm on each query and key head, before RoPE")
    tied_embeddings: Flag = Field(False, description="the output layer is the embedding")
    padded_vocab_size: Positive | None = Field(
        None, description="embedding rows; default: the tokenizer's ids, up to 128·n"
    )
    rope_base: Number = Field(10_000.0, gt=1.0)
    rope_scaling: RopeScaling | None = None
    max_positions: Positive | None = Field(None, description="written into exports; default: data.seq_length")
    norm_eps: Number = Field(1e-6, gt=0.0, lt=0.1)
    init_std: Number = Field(0.02, gt=0.0, lt=1.0, description="output projections: init_std / sqrt(2 · num_layers)")

    @property
    def head_size(self) -> int:
        """D."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def kv_heads(self) -> int:
        """Heads of key and value."""
        return self.num_key_value_heads or self.num_attention_heads

    @model_validator(mode="after")
    def _check(self) -> Model:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not divisible by num_attention_heads={self.num_attention_heads}"
            )
        if self.head_size % 2:
            made = (
                f"head_dim={self.head_dim} is"
                if self.head_dim
                else f"hidden_size={self.hidden_size} / num_attention_heads={self.num_attention_heads} makes"
            )
            raise ValueError(f"{made} an odd head size, {self.head_size}, and RoPE rotates pairs")
        if self.num_attention_heads % self.kv_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} is not divisible by "
                f"num_key_value_heads={self.num_key_value_heads}"
            )
        if self.qkv_bias and self.qk_norm:
            raise ValueError("qk_norm=true needs qkv_bias=false: Qwen3 has the norm, Qwen2 the bias; none has both")
        return self


def source_from_text(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def sources_from_text(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Source(Section):
    """`stdlib` is the prose of the Python installation."""

    path: str = Field(min_length=1, description="stdlib, a file, a directory, or hf:NAME_OR_DIRECTORY")
    weight: Number | None = Field(
        None, gt=0.0, le=1e12, description="default: by tokens, so each is seen equally often"
    )
    text_key: str = Field("text", description="the field with the document")
    config: str | None = Field(None, description="hf: only; the dataset's configuration")
    split: str = Field("train", description="hf: only")


class TrainingData(Section):
    """Each kind adds `sources`, and `isolate_documents` as a key or a constant."""

    builtin: ClassVar[tuple[str, ...]] = ()  # source paths that name generated data
    suffixes: ClassVar[tuple[str, ...]] = ()  # of the files it reads
    trees: ClassVar[bool] = False  # whether a directory may hold files of any kind

    if TYPE_CHECKING:

        @property
        def isolate_documents(self) -> bool: ...
        @property
        def sources(self) -> Sequence[Any]: ...

    seq_length: Positive = Field(description="tokens per sample")
    validation_fraction: Share = Field(0.01, description="of whole documents; 1 to evaluate on all of them")
    validation_max_bytes: Positive = Field(4_000_000, description="hold out at most this many UTF-8 bytes per source")
    documents: Positive | None = Field(None, description="read at most this many documents per source")

    @property
    def parts(self) -> dict[str, TrainingData]:
        """Key of the sources → their data."""
        return {"sources": self}


class Data(TrainingData):
    builtin: ClassVar[tuple[str, ...]] = ("stdlib",)
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt", ".md")

    sources: Annotated[
        list[Annotated[Source, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field(min_length=1, description="one source or a list; a path alone is short for {path: …}"),
    ]
    isolate_documents: Flag = Field(False, description="attention stays within a document; positions restart at each")


class Parallel(Section):
    """The data-parallel size is what remains."""

    tensor_parallel: Positive = 1
    sequence_parallel: Flag = Field(False, description="tensor ranks divide the sequence outside divided layers")
    pipeline_parallel: Positive = 1
    virtual_pipeline: Positive = Field(1, description="model chunks per pipeline stage: a smaller bubble")
    context_parallel: Positive = Field(1, description="processes that share each sample's sequence")
    recompute: Literal["none", "selective", "full"] = Field(
        "none", description="recompute instead of storing: inside attention and MLP, or whole layers"
    )


class Training(Section):
    steps: Positive
    global_batch_size: Positive = Field(description="samples of seq_length tokens per step")
    micro_batch_size: Positive = Field(1, description="samples per forward pass and data-parallel rank")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 if the hardware speeds it up")
    dropout: Number = Field(0.0, ge=0.0, lt=1.0, description="on each block's output; drawn differently in each layout")


class Optimizer(Section):
    lr: Number = Field(gt=0.0, description="the schedule's peak")
    beta1: Number = Field(0.9, ge=0.0, lt=1.0)
    beta2: Number = Field(0.95, ge=0.0, lt=1.0)
    eps: Number = Field(1e-8, gt=0.0)
    weight_decay: Number = Field(0.1, ge=0.0, description="not on biases and norms")
    clip_grad: Number = Field(1.0, ge=0.0, description="global norm; 0 turns clipping off")


class Schedule(Section):
    """Of the learning rate: linear warm-up, then `kind`."""

    kind: Literal["cosine", "constant", "linear", "wsd"] = "cosine"
    warmup_steps: Whole = Field(0, ge=0)
    min_lr_ratio: Share = Field(0.1, description="the floor as a fraction of the peak")
    decay_steps: Positive | None = Field(None, description="wsd only: the final decay; default: steps / 10")

    def check(self, steps: int, name: str) -> None:
        """Raises ValueError if it does not fit into `steps`, called `name`."""
        if self.warmup_steps >= steps:
            raise ValueError(f"schedule.warmup_steps={self.warmup_steps} leaves nothing of {name}")
        if self.decay_steps is None:
            return
        if self.kind != "wsd":
            raise ValueError(f"schedule.decay_steps={self.decay_steps} is for schedule.kind=wsd, not {self.kind}")
        if self.decay_steps > (left := steps - self.warmup_steps):
            raise ValueError(f"schedule.decay_steps={self.decay_steps} is longer than the {left} steps after warm-up")


class Checkpoint(Section):
    interval: Positive = Field(description="steps between checkpoints")
    keep_last: Positive = 2
    keep_every: Positive | None = Field(None, description="also keep each step divisible by this")


class RunGuards(Section):
    step_timeout: Number | None = Field(
        1200.0, ge=1.0, le=1e6, description="end a run after this many seconds without progress; logs get all stacks"
    )


class GuardSettings(RunGuards):
    """Later changes do not undo what a guard has done."""

    max_nonfinite: Positive = Field(
        3, description="end the run after this many steps in a row with a loss or gradient that is not finite"
    )
    spike: Number | None = Field(
        2.0, gt=0.0, description="roll back when the loss is this many nats above its recent median; null: never"
    )
    max_rollbacks: Whole = Field(5, ge=0, description="per run; later spikes are only reported")


class Evaluation(Section):
    interval: Positive = Field(description="steps between validations; the last step is always validated")
    max_tokens: Positive | None = Field(None, description="validation tokens at an interval; the last step uses all")
    prompts: list[str] = Field([], description="continued at every validation, for reading")
    sample_tokens: Positive = 48
    temperature: Number = Field(0.8, ge=0.0)


class Tracking(Section):
    wandb: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online if a key is set, else offline"
    )
    project: str = Field("qwen", min_length=1)
    artifacts: Literal["auto", "reference", "none"] = Field(
        "auto", description="exports in online W&B: auto uploads up to 2 GB, larger ones as checksums (reference)"
    )
    tensorboard: bool = Field(False, description="also write event files to the run's tensorboard/")
    log_interval: Positive = Field(1, description="steps between lines of metrics.jsonl")


def check_parallel(model: Model, parallel: Parallel, data: TrainingData) -> None:
    """Raises ValueError if the layout cannot divide the model or the sequence evenly."""
    tp, pp, vp, cp = (
        parallel.tensor_parallel,
        parallel.pipeline_parallel,
        parallel.virtual_pipeline,
        parallel.context_parallel,
    )
    divided = {
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.kv_heads,
        "ffn_hidden_size": model.ffn_hidden_size,
        "padded_vocab_size": model.padded_vocab_size or 0,
    }
    for key, count in divided.items():
        if count % tp:
            raise ValueError(f"model.{key}={count} is not divisible by parallel.tensor_parallel={tp}")
    if vp > 1 and pp == 1:
        raise ValueError(f"parallel.virtual_pipeline={vp} needs parallel.pipeline_parallel of 2 or more")
    if model.num_layers % (pp * vp):
        sizes = f"parallel.pipeline_parallel={pp}" + (f" × parallel.virtual_pipeline={vp}" if vp > 1 else "")
        raise ValueError(f"model.num_layers={model.num_layers} is not divisible by {sizes}")
    if parallel.sequence_parallel and tp == 1:
        raise ValueError("parallel.sequence_parallel=true needs parallel.tensor_parallel of 2 or more")
    if cp > 1 and data.isolate_documents:
        raise ValueError(
            f"parallel.context_parallel={cp}: isolated documents (data.isolate_documents, and conversations always) "
            "are not divided over ranks"
        )
    count = sequence_divisor(parallel)
    if data.seq_length % count:
        raise ValueError(
            f"data.seq_length={data.seq_length} must be a multiple of {count} for "
            f"parallel.context_parallel={cp} and sequence_parallel={str(parallel.sequence_parallel).lower()}"
        )


def sequence_divisor(parallel: Parallel) -> int:
    """Number of parts of a sequence. For equal work, each context rank takes one from the front and one from the
    back."""
    parts = 2 * parallel.context_parallel if parallel.context_parallel > 1 else 1
    return parts * (parallel.tensor_parallel if parallel.sequence_parallel else 1)


class RunRecipe(Section):
    """Keys of every run. Each kind adds `parallel`, and `training` with the batch sizes."""

    if TYPE_CHECKING:

        @property
        def training(self) -> Any: ...
        @property
        def parallel(self) -> Parallel: ...

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the run's directory")
    seed: Whole = Field(1234, ge=0, le=2**32 - 1)
    tokenizer: str = Field("default", min_length=1, description="default, dashscope, a .tiktoken file or a directory")
    model: Model
    data: TrainingData
    checkpoint: Checkpoint
    tracking: Tracking = Tracking.model_construct()
    guards: RunGuards = RunGuards.model_construct()


class Recipe(RunRecipe):
    """Keys of every job on the Megatron-core trainer."""

    parallel: Parallel = Parallel.model_construct()
    training: Training
    optimizer: Optimizer
    schedule: Schedule = Schedule.model_construct()
    evaluation: Evaluation
    guards: GuardSettings = GuardSettings.model_construct()
    export: Literal["final", "every", "none"] = Field("final", description="which checkpoints get a Hugging Face form")

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.model is not None:  # else checked once the parent is known
            check_parallel(self.model, self.parallel, self.data)
        if self.training.global_batch_size % self.training.micro_batch_size:
            raise ValueError(
                f"training.global_batch_size={self.training.global_batch_size} is not a multiple of "
                f"training.micro_batch_size={self.training.micro_batch_size}"
            )
        self.schedule.check(self.training.steps, f"training.steps={self.training.steps}")
        return self


class PretrainEvaluation(Evaluation):
    lengths: list[Positive] = Field([], description="context lengths for `evaluate`; default: seq_length")


class Init(Section):
    optimizer: Literal["fresh", "carry"] = Field(
        "fresh", description="carry: take over the optimizer state of the run that --from names"
    )


class PretrainRecipe(Recipe):
    init: Init = Init.model_construct()
    data: Data
    evaluation: PretrainEvaluation


class _Lax(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class _SampleLength(_Lax):
    seq_length: Positive


class TrainedModel(_Lax):
    """The model in any run's recipe."""

    name: str
    tokenizer: str
    model: Model
    data: _SampleLength
