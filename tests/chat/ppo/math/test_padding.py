"""Side, width and content of the padding change no result, from logits to gradients of weights."""

import pytest
import torch

from qwen_chat.ppo.math.advantages import advantages_and_returns, whiten
from qwen_chat.ppo.math.batch import join
from qwen_chat.ppo.math.kl import kl_per_token
from qwen_chat.ppo.math.losses import policy_loss, pretraining_loss, value_loss
from qwen_chat.ppo.math.moments import moments
from qwen_chat.ppo.math.probabilities import entropy, log_probabilities
from qwen_chat.ppo.math.rewards import token_rewards
from qwen_chat.ppo.math.statistics import explained_variance, policy_statistics

from .layouts import LENGTHS, lay_out

LAYOUTS = [("left", 0, float("nan")), ("right", 4, float("inf")), ("left", 4, -1e30), ("right", 0, 0.0)]


def everything(batch):
    """Every result of a step, per-token ones by token, and the gradients of all losses."""
    mask, tokens = batch.mask, batch.tokens
    leaves = {name: getattr(batch, name).detach().requires_grad_() for name in ("logprobs", "values")}
    results = {}
    for estimator in ("k1", "k2", "k3"):
        results[estimator] = kl_per_token(batch.old_logprobs, batch.reference_logprobs, mask, estimator)
    results["rewards"] = token_rewards(batch.scores, results["k1"], mask, 0.04)
    advantages, returns = advantages_and_returns(results["rewards"], batch.old_values, mask, 0.99, 0.95)
    white = whiten(advantages, mask, moments(advantages, mask))
    results |= {"advantages": advantages, "returns": returns, "white": white}
    results["policy"] = policy_loss(leaves["logprobs"], batch.old_logprobs, white, mask, 0.2, tokens)
    results["value"] = value_loss(leaves["values"], batch.old_values, returns, mask, 0.15, tokens)
    results["pretraining"] = pretraining_loss(leaves["logprobs"], mask, 0.1, tokens)
    sum(results[name] for name in ("policy", "value", "pretraining")).backward()
    for name, leaf in leaves.items():
        assert not leaf.grad[~mask].any()
        results[f"gradient of {name}"] = leaf.grad
    results |= policy_statistics(batch.logprobs, batch.old_logprobs, white, mask, 0.2, tokens)
    errors = moments(returns - batch.values, mask)
    results["explained"] = torch.tensor(explained_variance(moments(returns, mask), errors))
    return {name: x.detach() if x.dim() == 0 else x.detach()[mask] for name, x in results.items()}


@pytest.mark.parametrize("side, extra, fill", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_changes_no_result_and_no_gradient(ragged, side, extra, fill, dtype):
    expected, results = everything(ragged(dtype=dtype)), everything(ragged(side, extra, fill, dtype=dtype))
    for name, want in expected.items():
        assert want.isfinite().all(), name
        torch.testing.assert_close(results[name], want, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


class Causal(torch.nn.Module):
    """The smallest causal model: a mean of the embeddings so far."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(13, 8)
        self.output = torch.nn.Linear(8, 13)

    def forward(self, ids):  # [B, S]
        counts = torch.arange(1, ids.shape[1] + 1)[:, None]
        return self.output(torch.tanh(self.embedding(ids).cumsum(1) / counts))  # [B, S, V]


PROMPT_LENGTHS = (3, 6, 1, 2, 5)


def through_a_model(batch, prompt_side, response_side, extra):
    """Loss, log-probabilities and entropies by token, gradients of the weights."""
    torch.manual_seed(0)
    model = Causal()
    draw = torch.Generator().manual_seed(1)
    prompts = [torch.randint(13, (n,), generator=draw) for n in PROMPT_LENGTHS]
    responses = [torch.randint(13, (n,), generator=draw) for n in LENGTHS]
    ids, mask = lay_out(responses, response_side, extra, fill=12)
    rows = join(*lay_out(prompts, prompt_side, extra, fill=7), ids, mask)
    logits = rows.of_responses(model(rows.input_ids))  # [B, R, V]
    logprobs = log_probabilities(logits, ids)
    policy_loss(logprobs, batch.old_logprobs, batch.advantages, batch.mask, 0.2, batch.tokens).backward()
    alone = torch.cat(
        [
            model(torch.cat((p, r))[None]).log_softmax(-1)[0, len(p) - 1 : -1].gather(1, r[:, None])[:, 0]
            for p, r in zip(prompts, responses, strict=True)
        ]
    )
    gradients = [parameter.grad for parameter in model.parameters()]
    return logprobs[mask].detach(), entropy(logits)[mask], alone.detach(), gradients


@pytest.mark.parametrize("prompt_side", ["left", "right"])
@pytest.mark.parametrize("response_side", ["left", "right"])
@pytest.mark.parametrize("extra", [0, 5])
def test_padding_changes_no_gradient_of_a_model(ragged, prompt_side, response_side, extra):
    expected = through_a_model(ragged(dtype=torch.float32), "left", "right", 0)
    batch = ragged(response_side, extra, dtype=torch.float32)
    logprobs, entropies, alone, gradients = through_a_model(batch, prompt_side, response_side, extra)
    torch.testing.assert_close(logprobs, alone)  # what each row gets without a batch around it
    torch.testing.assert_close(logprobs, expected[0])
    torch.testing.assert_close(entropies, expected[1])
    for gradient, want in zip(gradients, expected[3], strict=True):
        assert want.any()
        torch.testing.assert_close(gradient, want, rtol=1e-5, atol=1e-6)
