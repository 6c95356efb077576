"""Smaller weights: what they are, that plain transformers reads them, and what they cost."""

import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from qwen_shared.data.token_file import TokenFileWriter
from qwen_shared.errors import UserError
from qwen_shared.publish.checkpoint import find_checkpoint
from qwen_shared.publish.held_out import held_out_documents
from qwen_shared.publish.quantise import mean_loss, quantise
from qwen_shared.tokenizer import load_tokenizer

VOCAB = 512


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QWEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


@pytest.fixture
def held_out(cache):
    """held_out(mask): ten documents in the cache as their entry in a manifest; with a mask, conversations."""

    def make(mask: bool = False):
        draw = np.random.default_rng(0)
        (cache / "key").mkdir(parents=True)
        with TokenFileWriter(cache / "key" / "validation", np.dtype("<i4" if mask else "<u2")) as file:
            for length in range(5, 45, 4):
                ids = draw.integers(0, VOCAB, length)
                file.add(np.where(np.arange(length) >= length // 2, ~ids, ids) if mask else ids)
        part = {"documents": 10, "tokens": file.num_tokens, "sha256": file.sha256}
        entry = {"name": "a.jsonl", "train": part, "validation": part}
        entry["source"] = {"path": "a.jsonl"} | ({"mask": "assistant"} if mask else {})
        (cache / "key" / "meta.json").write_text(json.dumps(entry))
        return entry

    return make


@pytest.fixture
def directory(tmp_path):
    """A random model whose layers have 64 and 96 inputs."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "published")
    load_tokenizer("default").save_hf(tmp_path / "published")
    return tmp_path / "published"


def test_variants(make_run, held_out, directory):
    checkpoint = find_checkpoint(str(make_run(data=[held_out()])))
    found = quantise(checkpoint, directory, [], {"int8": 8, "int4": 4})
    whole = AutoModelForCausalLM.from_pretrained(directory).eval()
    assert found.tokens == sum(range(5, 45, 4)) - 10
    assert [variant.name for variant in found.variants] == ["int8", "int4"]
    assert found.bytes > found.variants[0].bytes > found.variants[1].bytes
    int8, int4 = (abs(variant.loss - found.loss) for variant in found.variants)
    assert int8 < int4 < 0.5
    ids = torch.arange(40)[None]
    for variant, steps, group in (("int8", 127, 64), ("int4", 7, 32)):
        read = AutoModelForCausalLM.from_pretrained(directory / variant).eval()
        read(ids)  # unpacks
        for name, tensor in whole.state_dict().items():
            after = read.state_dict()[name]
            if "_proj.weight" not in name:
                assert torch.equal(after, tensor), name
                continue
            width = tensor.shape[1] if variant == "int8" else group
            rows = tensor.unflatten(1, (-1, width))
            step = rows.abs().amax(-1, keepdim=True) / steps
            off = (after.unflatten(1, (-1, width)) - rows).abs()
            assert (off <= 0.51 * step).all(), name
        assert (directory / variant / "tokenizer.json").is_file()


def test_layers_that_fall_into_no_groups(make_run, held_out, directory, tmp_path):
    config = Qwen2Config(
        vocab_size=VOCAB, hidden_size=40, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "odd")
    checkpoint = find_checkpoint(str(make_run(data=[held_out()])))
    with pytest.raises(UserError, match="a layer of 40 inputs does not divide into groups of 32; int8 works"):
        quantise(checkpoint, tmp_path / "odd", [], {"int4": 4})


@pytest.mark.parametrize("mask", [False, True])
def test_the_loss_is_that_of_one_document_after_another(make_run, held_out, directory, cache, mask):
    checkpoint = find_checkpoint(str(make_run(data=[held_out(mask)])))
    documents = held_out_documents(checkpoint, [], cache, 64)
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    total, count = 0.0, 0
    for ids, wanted in documents:
        with torch.no_grad():
            logprobs = model(torch.from_numpy(ids)[None]).logits[0].log_softmax(-1)
        for at in range(1, len(ids)):
            if wanted[at]:
                total, count = total - logprobs[at - 1, ids[at]].item(), count + 1
    loss, tokens = mean_loss(model, documents)
    assert tokens == count and math.isclose(loss, total / count, rel_tol=1e-5)


def test_tokens_that_are_not_what_they_were(make_run, held_out, cache):
    checkpoint = find_checkpoint(str(make_run(data=[held_out()])))
    content = bytearray((cache / "key" / "validation.bin").read_bytes())
    content[0] ^= 1
    (cache / "key" / "validation.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"held-out tokens of a\.jsonl are no longer in"):
        held_out_documents(checkpoint, [], cache, 64)
    bare = find_checkpoint(str(make_run("bare")))
    with pytest.raises(UserError, match="held out text to measure"):
        held_out_documents(bare, [], cache, 64)


def test_without_held_out_tokens_nothing_begins(publish, make_run, held_out, cache, monkeypatch):
    run = make_run(data=[held_out()])
    done = publish(run, "--plan", "--quantise", "int4")
    assert (done.returncode, done.stderr) == (0, "") and "step 20, int4 in" in done.stdout
    (cache / "key" / "validation.bin").unlink()
    monkeypatch.setattr("qwen_shared.publish.command._assemble", lambda *_: pytest.fail("began"))
    for words in (["--plan"], []):
        done = publish(run, "--quantise", "int4", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "the held-out tokens of a.jsonl are no longer in" in done.stderr
    # What was published with it stands as it is, where nothing has changed.
    identity = find_checkpoint(str(run)).identity
    (run / "published" / "int4").mkdir(parents=True)
    (run / "published" / "certificate.json").write_text(json.dumps({"run": identity}))
    assert publish(run, "--plan", "--quantise", "int4").returncode == 0
