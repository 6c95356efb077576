"""Every mistake is one line that names the key, the value and the nearest right thing."""

import pytest

from qwen_shared.errors import UserError
from qwen_shared.recipe import PretrainRecipe, check_layout, check_tokenizer, load_recipe

# (overrides, what the line must say)
BAD_OVERRIDES = {
    "misspelt key": ("optimizer.lrr=1", ["'optimizer.lrr'", "=1", "'optimizer.lr'"]),
    "usual other name": ("optimizer.learning_rate=3e-4", ["'optimizer.learning_rate'", "3e-4", "'optimizer.lr'"]),
    "other name without section": ("batch_size=4", ["'batch_size'", "'training.global_batch_size'"]),
    "key without its section": ("seq_length=4", ["'seq_length'", "'data.seq_length'"]),
    "misspelt section": ("trainning.steps=4", ["'trainning.steps'", "'training.steps'"]),
    "unknown key in a list": (
        "data.sources=[{path: a, wieght: 2}]",
        ["'data.sources.0.wieght'", "=2", "'data.sources.0.weight'"],
    ),
    "unknown key by index": ("data.sources.0.wieght=2", ["'data.sources.0.wieght'", "'data.sources.0.weight'"]),
    "unknown key in a section": ("model={num_layer: 3}", ["'model.num_layer'", "'model.num_layers'"]),
    "text for a number": ("optimizer.lr=fast", ["optimizer.lr=fast", "expected a number"]),
    "quoted number": ("training.steps='10'", ["training.steps=10", "expected a number"]),
    "fraction for a count": ("training.steps=8.5", ["training.steps=8.5", "whole number"]),
    "bool for a count": ("training.steps=true", ["training.steps=true", "expected a number"]),
    "number for a bool": ("parallel.sequence_parallel=1", ["sequence_parallel=1", "true or false"]),
    "word for a bool": ("parallel.sequence_parallel=yes", ["sequence_parallel=yes", "true or false"]),
    "negative count": ("training.steps=-1", ["training.steps=-1", "greater than 0"]),
    "zero": ("optimizer.lr=0", ["optimizer.lr=0", "greater than 0"]),
    "share above one": ("optimizer.beta2=1.5", ["optimizer.beta2=1.5", "less than 1"]),
    "a momentum of one": ("optimizer.beta2=1", ["optimizer.beta2=1", "less than 1"]),
    "a seed past 32 bits": ("seed=4294967296", ["seed=4294967296", "4294967295"]),
    "huge count": ("training.steps=1e30", ["training.steps=1e+30", "too large"]),
    "thousands of digits": ("training.steps=" + "9" * 5000, ["training.steps=9", "..."]),
    "infinite": ("optimizer.lr=.inf", ["optimizer.lr=inf", "finite"]),
    "overflowing": ("optimizer.lr=1e400", ["optimizer.lr=inf", "finite"]),
    "no time at all": ("guards.step_timeout=1e-9", ["guards.step_timeout=1e-09", "1"]),
    "more time than there is": ("guards.step_timeout=1e300", ["guards.step_timeout=1e+300", "1000000"]),
    "a weight that cannot be added to": ("data.sources=[{path: a, weight: 1e308}]", ["data.sources.0.weight=1e+308"]),
    "not a number": ("optimizer.lr=.nan", ["optimizer.lr=nan"]),
    "empty value": ("optimizer.lr=", ["optimizer.lr=null", "expected a number"]),
    "unknown word": ("schedule.kind=cosin", ["schedule.kind=cosin", "'cosine'"]),
    "value for a section": ("model=3", ["model=3", "section"]),
    "list for a value": ("training.steps=[1, 2]", ["training.steps=[1, 2]", "expected a whole number"]),
    "key below a value": ("training.steps.x=3", ["'training.steps.x'", "'training.steps'"]),
    "bad list item": ("evaluation.lengths=[128, long]", ["evaluation.lengths.1=long", "expected a number"]),
    "number among prompts": ("evaluation.prompts=[one, 2]", ["evaluation.prompts.1=2", "expected text"]),
    "no sources": ("data.sources=[]", ["data.sources=[]", "empty"]),
    "source of no kind": ("data.sources=[3]", ["data.sources.0=3", "section"]),
    "index that is none": ("data.sources.².weight=1", ["'data.sources.².weight'"]),
    "index of thirty digits": (f"data.sources.{'9' * 30}.weight=1", ["data.sources.9"]),
    "index past the end": ("data.sources.5.weight=1", ["data.sources.5.weight", "'5'", "list of 1"]),
    "name that leaves the directory": ("name=../../up", ["name=../../up", "letters"]),
    "no equals sign": ("steps", ["'steps'", "key=value", "'training.steps'"]),
    "no key": ("=3", ["'=3'", "key=value"]),
    "broken YAML value": ("data.sources=[a, {b", ["data.sources=[a, {b", "not valid YAML"]),
    "heads do not divide": ("model.num_attention_heads=7", ["hidden_size=64", "num_attention_heads=7"]),
    "odd head": ("model.num_attention_heads=64", ["num_attention_heads=64", "odd"]),
    "batch is no multiple": ("training.micro_batch_size=3", ["global_batch_size=8", "micro_batch_size=3"]),
    "layers do not divide": ("parallel.pipeline_parallel=3", ["num_layers=4", "pipeline_parallel=3"]),
    "heads under tensor parallel": ("parallel.tensor_parallel=3", ["num_attention_heads=4", "tensor_parallel=3"]),
    "key heads do not divide": ("model.num_key_value_heads=3", ["num_attention_heads=4", "num_key_value_heads=3"]),
    "odd head given": ("model.head_dim=15", ["head_dim=15", "odd"]),
    "bias and norm": ("model.qk_norm=true", ["qk_norm=true", "qkv_bias=false"]),
    "RoPE stretched backwards": (
        "model.rope_scaling={factor: 8, low_freq_factor: 4, high_freq_factor: 1}",
        ["low_freq_factor=4", "high_freq_factor=1"],
    ),
    "RoPE stretched without a factor": ("model.rope_scaling={}", ["model.rope_scaling.factor", "missing"]),
    "key heads under tensor parallel": (
        "parallel={tensor_parallel: 4}\nmodel.num_key_value_heads=2",
        ["num_key_value_heads=2", "tensor_parallel=4"],
    ),
    "sequence without tensor parallel": ("parallel.sequence_parallel=true", ["sequence_parallel=true", "2 or more"]),
    "virtual without pipeline": (
        "parallel.virtual_pipeline=2",
        ["virtual_pipeline=2", "pipeline_parallel", "2 or more"],
    ),
    "chunks do not divide": (
        "parallel={pipeline_parallel: 2, virtual_pipeline: 3}",
        ["num_layers=4", "pipeline_parallel=2", "virtual_pipeline=3"],
    ),
    "sequence does not divide": ("parallel.context_parallel=3", ["seq_length=128", "multiple of 6"]),
    "isolated and cut": (
        "parallel.context_parallel=2\ndata.isolate_documents=true",
        ["isolate_documents", "context_parallel=2"],
    ),
    "unknown recompute": ("parallel.recompute=som", ["recompute=som", "none, selective, full"]),
    "warm-up never ends": ("schedule.warmup_steps=100", ["warmup_steps=100", "steps=100"]),
    "decay of another schedule": ("schedule.decay_steps=5", ["decay_steps=5", "wsd"]),
}


@pytest.mark.parametrize("name", BAD_OVERRIDES)
def test_override(name, recipes):
    override, words = BAD_OVERRIDES[name]
    with pytest.raises(UserError) as raised:
        load_recipe(PretrainRecipe, "good", override.split("\n"), recipes)
    _is_one_clear_line(str(raised.value), words)


BAD_FILES = {
    "unknown key": ("{good}\nmodle: 3", ["'modle'", "nearest valid key"]),
    "misspelt key beside the missing one": (
        "name: x\noptimizer: {{learning_rate: 1}}",
        ["'optimizer.learning_rate'", "'optimizer.lr'", "more)"],
    ),
    "missing key": ("{good}\nschedule: null\n", ["schedule=null", "section"]),
    "missing section": ("name: x", ["'model'", "missing"]),
    "key twice": ("{good}\nname: again", ["'name'", "twice", "line 10"]),
    "tab": ("name: x\n\tseed: 3", ["line 2", "not valid YAML"]),
    "unclosed": ("name: [x", ["line", "not valid YAML"]),
    "empty": ("", ["empty"]),
    "a list": ("- a", ["keys and values", "a list"]),
    "a word": ("hello", ["keys and values", "text"]),
    "two documents": ("a: 1\n---\nb: 2", ["not valid YAML"]),
    "list as a key": ("[a, b]: 3", ["line 1", "key"]),
    "python object": ("name: !!python/object/apply:os.getcwd []", ["not valid YAML"]),
    "deep nesting": ("name: " + "[" * 5000, ["not valid YAML"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_file(name, recipes):
    text, words = BAD_FILES[name]
    path = recipes / "bad.yaml"
    path.write_text(text.format(good=(recipes / "good.yaml").read_text()))
    with pytest.raises(UserError) as raised:
        load_recipe(PretrainRecipe, str(path), [], recipes)
    _is_one_clear_line(str(raised.value), ["bad", *words])


def test_not_text(recipes):
    (recipes / "bad.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load_recipe(PretrainRecipe, "bad", [], recipes)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("goood", ["goood", "no such recipe", "'good'"]),
        ("missing.yaml", ["missing.yaml", "no such file"]),
        ("./", ["./", "a directory"]),
    ],
)
def test_config(config, words, recipes):
    with pytest.raises(UserError) as raised:
        load_recipe(PretrainRecipe, config, [], recipes)
    _is_one_clear_line(str(raised.value), words)


@pytest.mark.parametrize(
    ("override", "world_size", "words"),
    [
        ("parallel.tensor_parallel=4", 2, ["tensor_parallel=4", "2", "--nproc 4"]),
        ("parallel.pipeline_parallel=2", 3, ["pipeline_parallel=2", "3", "--nproc 4"]),
        ("parallel.context_parallel=2", 3, ["context_parallel=2", "3", "--nproc 4"]),
        (
            "parallel={pipeline_parallel: 2, virtual_pipeline: 2}",
            8,
            ["global_batch_size=8", "2 × 4 × 2", "virtual_pipeline", "16"],
        ),
        ("training.micro_batch_size=4", 4, ["global_batch_size=8", "4 × 4", "16"]),
    ],
)
def test_layout(override, world_size, words, recipes):
    recipe = load_recipe(PretrainRecipe, "good", [override], recipes)
    with pytest.raises(UserError) as raised:
        check_layout(recipe, world_size)
    _is_one_clear_line(str(raised.value), words)


def test_tokenizer(tmp_path):
    check_tokenizer("default")
    check_tokenizer(str(tmp_path))
    with pytest.raises(UserError) as raised:
        check_tokenizer("defualt")
    _is_one_clear_line(str(raised.value), ["tokenizer=defualt", "'default'"])


def _is_one_clear_line(message: str, words: list[str]) -> None:
    assert "\n" not in message
    assert len(message) < 300, message
    for noise in ("pydantic", "Input should", "Value error", "type=", "function-", "Traceback"):
        assert noise not in message
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
