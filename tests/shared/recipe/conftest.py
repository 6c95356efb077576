import pytest

GOOD = """
name: good
model: {num_layers: 4, hidden_size: 64, num_attention_heads: 4, ffn_hidden_size: 96}
data: {sources: stdlib, seq_length: 128}
training: {steps: 100, global_batch_size: 8, micro_batch_size: 2}
optimizer: {lr: 1e-3}
checkpoint: {interval: 10}
evaluation: {interval: 10}
"""


@pytest.fixture
def recipes(tmp_path):
    """A directory with one recipe, `good`."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "good.yaml").write_text(GOOD)
    return folder
