"""`qwen-chat publish` of reward models and of PPO's policies: what was saved is what is published."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, Qwen2Config

from qwen_chat.cli import main
from qwen_chat.hf_export import export_hf
from qwen_chat.ppo.models import load_policy
from qwen_chat.ppo.recipe import Lora
from qwen_chat.reward.model import load_module, load_reward_model
from qwen_chat.reward.padding import PaddedBy, padding_id
from qwen_shared.convert.hf_files import weights_hash
from qwen_shared.recipe.yaml_text import dump_yaml
from qwen_shared.run.integrity import write_hashes
from qwen_shared.tokenizer import load_tokenizer

STEP = 4
PPO = {
    "data": {"sources": [{"path": "dialogues"}], "seq_length": 128, "system": ""},
    "training": {"steps": STEP, "value_warmup_steps": 0, "global_batch_size": 8, "micro_batch_size": 4},
    "generation": {"max_new_tokens": 6},
    "reward": {"functions": ["checked"]},
    "evaluation": {"interval": 2},
    "checkpoint": {"interval": 2},
}
MEASURED = {
    "chat-ppo": {"gain/reward": 1.0, "gain/reward_low": 0.5, "gain/reward_high": 1.5},
    "chat-reward": {"eval/accuracy": 0.9},
}


@pytest.fixture
def tokenizer():
    return load_tokenizer("default")


@pytest.fixture
def start(tmp_path, tokenizer):
    """A language model with random weights, as a Hugging Face directory."""
    config = Qwen2Config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "start")
    tokenizer.save_hf(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def make_run(tmp_path, start, tokenizer):
    """make_run(kind, **recipe) → the run's directory and that of its only checkpoint."""

    def make(kind, **recipe):
        run = tmp_path / "run"
        checkpoint = run / "checkpoints" / f"step-{STEP:08d}"
        checkpoint.mkdir(parents=True)
        tokenizer.save_hf(run / "tokenizer")
        config = json.loads((start / "config.json").read_text())
        model = {
            "num_layers": 2,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "ffn_hidden_size": config["intermediate_size"],
        }
        said = {"name": "run", "seed": 1, "tokenizer": "./tokenizer", "model": model} | PPO | recipe
        (run / "recipe.yaml").write_text(dump_yaml(said))
        manifest = {
            "command": f"qwen-chat {kind.removeprefix('chat-')}",
            "kind": kind,
            "name": "run",
            "status": "finished",
            "created": "2026-01-02T03:04:05+00:00",
            "updated": "2026-01-02T03:04:05+00:00",
            "parent": {"run": str(start), "hash": weights_hash(start)},
            "results": MEASURED[kind],
        }
        (run / "manifest.json").write_text(json.dumps(manifest))
        return run, checkpoint

    return make


def trained(module):
    """As if it had learned something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def named(lm, learning_only=False):
    learning = {name for name, p in lm.named_parameters() if p.requires_grad}
    state = lm.state_dict()
    return {f"lm.{name}": value for name, value in state.items() if not learning_only or name in learning}


def publish(run, *words):
    write_hashes(run / "checkpoints" / f"step-{STEP:08d}")
    return main(["publish", str(run), *words])


def parity_of(run):
    return json.loads((run / "published" / "certificate.json").read_text())["parity"]


def test_a_policy(make_run, start, tokenizer):
    run, checkpoint = make_run("chat-ppo")
    lm = trained(load_policy(start, torch.float32))
    head = {"head.weight": torch.zeros(1, 32)}
    torch.save({"weights": named(lm) | head, "optimizer": {}}, checkpoint / "policy.pt")
    export_hf(lm, tokenizer, run, STEP)
    assert publish(run) == 0
    assert parity_of(run)["tensors"] == {"compared": len(lm.state_dict()), "bit_equal": True, "max_difference": 0.0}
    said = json.loads((run / "published" / "generation_config.json").read_text())
    assert said["eos_token_id"] == list(tokenizer.stop_ids)  # what it began from had none
    published = AutoModelForCausalLM.from_pretrained(run / "published", dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("Hello!")])
    assert torch.equal(published(ids).logits, lm.eval()(ids).logits)


def test_another_policy_is_refused(make_run, start, tokenizer, capsys):
    run, checkpoint = make_run("chat-ppo")
    lm = trained(load_policy(start, torch.float32))
    torch.save({"weights": named(lm), "optimizer": {}}, checkpoint / "policy.pt")
    export_hf(load_policy(start, torch.float32), tokenizer, run, STEP)
    assert publish(run) == 2
    assert "is not the checkpoint's" in capsys.readouterr().err
    assert not (run / "published").exists()


@pytest.mark.heavy
def test_adapters(make_run, start, tokenizer):
    run, checkpoint = make_run("chat-ppo", policy={"lr": 1e-5, "lora": {"rank": 4, "alpha": 4}})
    lm = trained(load_policy(start, torch.float32, Lora(rank=4, alpha=4)))
    torch.save({"weights": named(lm, learning_only=True), "optimizer": {}}, checkpoint / "policy.pt")
    export_hf(lm.merge_and_unload(), tokenizer, run, STEP)
    assert publish(run) == 0
    assert parity_of(run)["tensors"]["compared"] > 20


def test_deepspeed_s_form_and_rounding(make_run, start, tokenizer):
    """The checkpoint holds fp32, what was exported is bf16: rounded, they are equal."""
    run, checkpoint = make_run("chat-ppo")
    lm = trained(load_policy(start, torch.float32))
    (checkpoint / "policy").mkdir()
    torch.save({"module": named(lm)}, checkpoint / "policy" / "mp_rank_00_model_states.pt")
    for parameter in lm.parameters():  # not the angles of the positions, which are no parameters
        parameter.data = parameter.data.to(torch.bfloat16)
    export_hf(lm, tokenizer, run, STEP)
    assert publish(run) == 0
    assert parity_of(run)["tensors"]["bit_equal"]
    assert "in bf16" in (run / "published" / "README.md").read_text()


def test_a_reward_model(make_run, start, tokenizer):
    """In plain transformers it gives what the run gave: read where the padding begins, not by the mask."""
    run, checkpoint = make_run("chat-reward")
    module = trained(load_module(start, torch.float32))
    module.config.pad_token_id = pad_id = padding_id(tokenizer, tokenizer.stop_ids[0])
    module.save_pretrained(checkpoint)
    export_hf(module, PaddedBy(tokenizer, pad_id), run, STEP)
    assert publish(run, "--licence", "mit") == 0
    assert parity_of(run)["logits"]["batch"][0] == 3
    directory = run / "published"
    assert not (directory / "generation_config.json").exists()
    theirs = AutoModelForSequenceClassification.from_pretrained(directory)
    reader = AutoTokenizer.from_pretrained(directory)
    turns = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello! What can I do?"}]
    texts = [reader.apply_chat_template(turns[:n], tokenize=False).rstrip("\n") for n in (1, 2)]
    inputs = reader(texts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False)
    ours = load_reward_model(run).score([tokenizer.render(turns[:n])[0][:-1] for n in (1, 2)])
    assert theirs(**inputs).logits[:, 0].tolist() == pytest.approx(ours, abs=1e-5)
