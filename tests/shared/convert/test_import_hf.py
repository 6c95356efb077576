"""Models of every family come in from Hugging Face and go out as they came, to the bit, under any layout."""

from pathlib import Path

import pytest
import torch
import two_processes

from qwen_shared.errors import UserError

NAMES = ["Qwen1.5", "Qwen2", "Qwen2.5, tied", "Qwen3, tied", "Qwen3", "Llama", "Llama 3", "Llama 3, tied"]
IN_TWO_PROCESSES = ["Qwen1.5", "Qwen2.5, tied", "Qwen3, tied", "Llama", "Llama 3"]
CASES = [(name, "fp32") for name in NAMES] + [("Qwen1.5", "bf16"), ("Qwen3, tied", "bf16"), ("Llama 3", "bf16")]
TOLERANCE = 1e-4


def _tokens() -> torch.Tensor:
    return torch.randint(0, 8192, (2, 48), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _logits(directory: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()(_tokens()).logits


def _tensors(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: tensor for path in directory.glob("*.safetensors") for name, tensor in load_file(path).items()}


def _assert_same(directory: Path, original: Path) -> None:
    """The same tensors under the same names, bit for bit, and the same model by config.json."""
    from qwen_shared.convert.families import read_model
    from qwen_shared.convert.proof import bit_equal

    ours, theirs = _tensors(directory), _tensors(original)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not bit_equal(ours[name], theirs[name])] == []
    assert read_model(directory) == read_model(original)


def test_the_names_here_are_all_there_are(hf_directory):
    assert hf_directory.names == NAMES


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_round_trip_in_one_process(name, precision, hf_directory, tmp_path):
    from transformers import AutoConfig

    from qwen_shared.convert.export import _write_model
    from qwen_shared.convert.families import read_model
    from qwen_shared.convert.import_hf import hf_source, prove_import
    from qwen_shared.model.builder import build_model, unwrap
    from qwen_shared.model.weights import fill, global_parameters
    from qwen_shared.recipe.schema import Parallel
    from qwen_shared.tokenizer import load_tokenizer

    original, tokenizer = hf_directory(name, precision), load_tokenizer("default")
    certificate = prove_import(original, tokenizer)
    assert certificate["stored"] == [{"fp32": "F32", "bf16": "BF16"}[precision]]
    assert certificate["logits"]["layers"] == 4
    assert certificate["logits"]["max_difference"] <= TOLERANCE

    model = read_model(original)
    built = build_model(model, model.padded_vocab_size, Parallel(), precision)
    fill(built, hf_source(original))
    whole = {spec.name: spec.parameter.detach() for spec in global_parameters(unwrap(built[0]))}
    _write_model(tmp_path, model, model.padded_vocab_size, 64, tokenizer, whole)
    _assert_same(tmp_path, original)

    ours, theirs = AutoConfig.from_pretrained(tmp_path).to_dict(), AutoConfig.from_pretrained(original).to_dict()
    tokens = {"bos_token_id", "eos_token_id", "pad_token_id"}  # those come from the tokenizer
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} - tokens
    assert differing <= {"_name_or_path", "transformers_version"}
    if precision == "fp32":
        difference = (_logits(tmp_path) - _logits(original)).abs().max().item()
        assert difference == 0.0


@pytest.fixture(scope="module")
def layouts(hf_directory, tmp_path_factory):
    """Every family in two processes: its logits and a checkpoint, at tensor parallel 2 and at pipeline parallel 2."""
    folder = tmp_path_factory.mktemp("layouts")
    directories = [str(hf_directory(name)) for name in IN_TWO_PROCESSES]
    two_processes.run(Path(__file__).with_name("two_ranks.py"), str(folder), *directories, layouts=2)
    return folder


@pytest.mark.parametrize("layout", ["tensor", "pipeline"])
@pytest.mark.parametrize("name", IN_TWO_PROCESSES)
def test_round_trip_through_two_processes(layout, name, layouts, hf_directory, tmp_path):
    from qwen_shared.convert.export import export_checkpoint
    from qwen_shared.convert.families import read_model
    from qwen_shared.tokenizer import load_tokenizer

    original = hf_directory(name)
    found = layouts / layout / original.name
    logits = torch.load(found / "logits.pt", weights_only=True)
    assert (logits - _logits(original)).abs().max().item() <= TOLERANCE
    model = read_model(original)
    target = tmp_path / "export"
    certificate = export_checkpoint(
        found / "step-00000001", target, model, model.padded_vocab_size, 64, load_tokenizer("default"), 1
    )
    assert certificate["logits"]["max_difference"] <= TOLERANCE
    _assert_same(target, original)


def test_values_that_no_training_could_start_from(hf_directory, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from qwen_shared.convert.import_hf import prove_import
    from qwen_shared.tokenizer import load_tokenizer

    original, tokenizer = hf_directory("Qwen2.5, tied"), load_tokenizer("default")
    (tmp_path / "config.json").write_text((original / "config.json").read_text())
    weights = load_file(original / "model.safetensors")
    save_file(weights | {"lm_head.weight": torch.zeros(8192, 48)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"tie_word_embeddings=true, but lm_head\.weight is not"):
        prove_import(tmp_path, tokenizer)
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"model.norm.weight holds values that are not finite"):
        prove_import(tmp_path, tokenizer)


def test_rows_grow_by_the_mean(hf_directory):
    import torch

    from qwen_shared.convert.import_hf import hf_source
    from qwen_shared.convert.names import EMBEDDING, OUTPUT

    source = hf_source(hf_directory("Qwen2"))
    for name in (EMBEDDING, OUTPUT):
        stored, grown = source(name, (8192, 48)), source(name, (8320, 48))
        assert torch.equal(grown[:8192], stored)
        torch.testing.assert_close(grown[8192:], stored.mean(dim=0).expand(128, -1))
