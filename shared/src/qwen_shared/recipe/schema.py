"""The typed recipe: every key that changes a result, with its unit, its default and its check.

Importing this costs milliseconds: no torch, no Megatron. A recipe that validates here can be built; what
depends on the number of processes is checked by `check_layout` once that number is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

# Keys that say how a run is carried out, not what comes out of it: a resumed run may change them.
RESULT_NEUTRAL = ("parallel.", "training.micro_batch_size", "tracking.", "checkpoint.", "guards.")


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


class RopeScaling(Section):
    """Llama 3's stretched RoPE: frequencies slower than the original context by more than `low_freq_factor` turns are
    divided by `factor`, those above `high_freq_factor` turns stay, those between are blended."""

    factor: Number = Field(gt=1.0)
    low_freq_factor: Number = Field(1.0, gt=0.0)
    high_freq_factor: Number = Field(4.0, gt=0.0)
    original_positions: Positive = Field(8192, description="context length before the stretch")

    @model_validator(mode="after")
    def _check(self) -> RopeScaling:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor={self.low_freq_factor:g} must be less than high_freq_factor={self.high_freq_factor:g}"
            )
        return self


class Model(Section):
    """The architecture: Qwen's by default (report, section 2.3), or a relative's. Sizes are counts of units.

    Relatives differ in five switches, which also say what an export is called: Qwen, Qwen1.5, Qwen2 and Qwen2.5 have a
    bias on query, key and value; Qwen3 has `qk_norm` instead; Llama neither.
    """

    num_layers: Positive
    hidden_size: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive | None = Field(None, description="grouped-query attention; default: all heads")
    head_dim: Positive | None = Field(None, description="default: hidden_size / num_attention_heads")
    ffn_hidden_size: Positive = Field(description="width of one SwiGLU branch")
    qkv_bias: Flag = True
    qk_norm: Flag = Field(False, description="RMSNorm on each query and key head, before RoPE")
    tied_embeddings: Flag = Field(False, description="the output layer is the embedding")
    vocab_rows: Positive | None = Field(None, description="embedding rows; default: the tokenizer's ids, up to 128·n")
    rope_base: Number = Field(10_000.0, gt=1.0)
    rope_scaling: RopeScaling | None = None
    max_positions: Positive | None = Field(None, description="written into exports; default: data.seq_length")
    norm_eps: Number = Field(1e-6, gt=0.0, lt=0.1)
    init_std: Number = Field(0.02, gt=0.0, lt=1.0, description="output projections: init_std / sqrt(2 · num_layers)")

    @property
    def head_size(self) -> int:
        """D: `head_dim`, resolved."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def kv_heads(self) -> int:
        """Heads of key and value: `num_key_value_heads`, resolved."""
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
            raise ValueError("qk_norm=true needs qkv_bias=false: Qwen3 has the norm, Qwen2 the bias, no family both")
        return self


def source_from_text(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def sources_from_text(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Source(Section):
    """Where documents come from.

    `path` is `stdlib` (the Python installation's own prose), a file or a directory (.jsonl, .jsonl.gz, .jsonl.zst,
    .parquet, .txt, .md), or `hf:NAME_OR_DIRECTORY` for a dataset read with `datasets`.
    """

    path: str = Field(min_length=1, description="stdlib, a file, a directory, or hf:NAME_OR_DIRECTORY")
    weight: Number | None = Field(
        None, gt=0.0, le=1e12, description="default: by tokens, so every token is seen equally often"
    )
    text_key: str = Field("text", description="the field that holds the document")
    config: str | None = Field(None, description="hf: only; the dataset's configuration name")
    split: str = Field("train", description="hf: only")


class TrainingData(Section):
    """What every job's data has. Each kind also says which names it knows, which files it reads, and
    `isolate_documents`, as a key or once and for all."""

    builtin: ClassVar[tuple[str, ...]] = ()  # source paths that are names of data made here
    suffixes: ClassVar[tuple[str, ...]] = ()
    trees: ClassVar[bool] = False  # whether a directory may hold files of any kind

    if TYPE_CHECKING:

        @property
        def isolate_documents(self) -> bool: ...
        @property
        def sources(self) -> Sequence[Any]: ...

    seq_length: Positive = Field(description="tokens per sample")
    validation_share: Share = Field(0.01, description="of the documents, whole; 1 to evaluate on all of them")
    validation_max_bytes: Positive = Field(4_000_000, description="hold out no more UTF-8 bytes than this per source")
    documents: Positive | None = Field(None, description="read at most this many documents of each source")

    @property
    def parts(self) -> dict[str, TrainingData]:
        """Data of several kinds, each by the key under which its sources stand."""
        return {"sources": self}


class Data(TrainingData):
    builtin: ClassVar[tuple[str, ...]] = ("stdlib",)
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt", ".md")

    sources: Annotated[
        list[Annotated[Source, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field(min_length=1, description="one source or a list; a path alone is short for {path: …}"),
    ]
    isolate_documents: Flag = Field(False, description="no token sees another document; positions restart at each")


class Parallel(Section):
    """How the work is divided. The data-parallel size is what is left of the processes."""

    tensor_parallel: Positive = 1
    sequence_parallel: Flag = Field(False, description="tensor ranks also divide the sequence where nothing else is")
    pipeline_parallel: Positive = 1
    virtual_pipeline: Positive = Field(1, description="model chunks per pipeline stage: a smaller bubble")
    context_parallel: Positive = Field(1, description="processes that share each sample's sequence")
    recompute: Literal["none", "selective", "full"] = Field(
        "none", description="computed again instead of kept: the insides of attention and MLP, or whole layers"
    )


class Training(Section):
    steps: Positive
    global_batch_size: Positive = Field(description="samples of seq_length tokens per step")
    micro_batch_size: Positive = Field(1, description="samples per forward pass and data-parallel rank")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the hardware speeds it up")
    dropout: Number = Field(
        0.0, ge=0.0, lt=1.0, description="of what each block adds; drawn differently on each layout"
    )


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

    def check(self, steps: int, said: str) -> None:
        """Raises ValueError where it does not fit into so many steps, which are called `said`."""
        if self.warmup_steps >= steps:
            raise ValueError(f"schedule.warmup_steps={self.warmup_steps} leaves nothing of {said}")
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


class GuardSettings(Section):
    """When a step is not taken as it comes. What guards have done to a run stays, whatever is said here later."""

    max_nonfinite: Positive = Field(
        3, description="steps in a row that could not be used, because loss or gradient is not finite, end the run"
    )
    spike: Number | None = Field(
        2.0, gt=0.0, description="nats over its recent median at which the loss sends the run back; null: none does"
    )
    max_rollbacks: Whole = Field(5, ge=0, description="in a run; after that spikes are only told")
    step_timeout: Number | None = Field(
        1200.0, ge=1.0, le=1e6, description="seconds without progress that end a run, all ranks' stacks in its logs"
    )


class Evaluation(Section):
    interval: Positive = Field(description="steps between validations; the last step is always validated")
    max_tokens: Positive | None = Field(None, description="validation tokens at intervals; the last step uses all")
    prompts: list[str] = Field([], description="continued at every validation, to be read")
    sample_tokens: Positive = 48
    temperature: Number = Field(0.8, ge=0.0)


class Tracking(Section):
    wandb: Literal["auto", "online", "offline", "disabled"] = Field(
        "auto", description="auto: online where a key is set, else offline"
    )
    project: str = Field("qwen", min_length=1)
    artifacts: Literal["auto", "reference", "none"] = Field(
        "auto", description="the export in W&B, online: auto uploads it up to 2 GB, else only its checksums (reference)"
    )
    tensorboard: bool = Field(False, description="event files in the run's tensorboard/ as well")
    log_interval: Positive = Field(1, description="steps between lines of metrics.jsonl")


def check_parallel(model: Model, parallel: Parallel, data: TrainingData) -> None:
    """Raises ValueError where the parts of the model or of the sequence cannot be dealt out evenly."""
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
        "vocab_rows": model.vocab_rows or 0,
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
            f"parallel.context_parallel={cp}: documents that are isolated from each other (data.isolate_documents, and "
            "conversations always) are not cut over ranks"
        )
    count = sequence_divisor(parallel)
    if data.seq_length % count:
        raise ValueError(
            f"data.seq_length={data.seq_length} must be a multiple of {count} to be cut for "
            f"parallel.context_parallel={cp} and sequence_parallel={str(parallel.sequence_parallel).lower()}"
        )


def sequence_divisor(parallel: Parallel) -> int:
    """Number of equal parts that a layout cuts a sequence into. Each context rank takes one from the front and one from
    the back, so that all have equal work."""
    parts = 2 * parallel.context_parallel if parallel.context_parallel > 1 else 1
    return parts * (parallel.tensor_parallel if parallel.sequence_parallel else 1)


class RunRecipe(Section):
    """What every run has, whatever trains it. A kind of run adds `training`, with `global_batch_size` and
    `micro_batch_size`, and `parallel`."""

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


class Recipe(RunRecipe):
    """What every job on the Megatron-core trainer has."""

    parallel: Parallel = Parallel.model_construct()
    training: Training
    optimizer: Optimizer
    schedule: Schedule = Schedule.model_construct()
    evaluation: Evaluation
    guards: GuardSettings = GuardSettings.model_construct()
    export: Literal["final", "every", "none"] = Field("final", description="which checkpoints get a Hugging Face form")

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.model is not None:  # else that of a model to come, which is checked with it
            check_parallel(self.model, self.parallel, self.data)
        if self.training.global_batch_size % self.training.micro_batch_size:
            raise ValueError(
                f"training.global_batch_size={self.training.global_batch_size} is not a multiple of "
                f"training.micro_batch_size={self.training.micro_batch_size}"
            )
        self.schedule.check(self.training.steps, f"training.steps={self.training.steps}")
        return self


class PretrainEvaluation(Evaluation):
    lengths: list[Positive] = Field([], description="context lengths of `evaluate`'s perplexity; default: seq_length")


class Init(Section):
    optimizer: Literal["fresh", "carry"] = Field(
        "fresh", description="carry: with the optimizer's state of the run that --from names"
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
    """What any run's recipe says of its model, whatever the run's job."""

    name: str
    tokenizer: str
    model: Model
    data: _SampleLength
