import pytest

from qwen_shared.recipe import PretrainRecipe


@pytest.fixture
def recipe():
    return make_recipe()


@pytest.fixture
def changed():
    """The same recipe with other values."""
    return make_recipe


def make_recipe(**sections):
    tree = {
        "name": "small",
        "model": {"num_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "ffn_hidden_size": 32},
        "data": {"sources": "stdlib", "seq_length": 16},
        "training": {"steps": 4, "global_batch_size": 4},
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"interval": 2},
        "evaluation": {"interval": 2},
    }
    for name, keys in sections.items():
        tree[name] = tree.get(name, {}) | keys if isinstance(keys, dict) else keys
    return PretrainRecipe.model_validate(tree)


@pytest.fixture(autouse=True)
def no_wandb(monkeypatch):
    """No test finds the machine's own W&B settings; those that want W&B set the mode themselves."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")
    monkeypatch.setenv("WANDB_MODE", "disabled")
