"""One step of PPO: generate, score, advantages, update."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qwen_chat.ppo.engine import Engine, autocast
from qwen_chat.ppo.math.advantages import advantages_and_returns, whiten
from qwen_chat.ppo.math.batch import Rollout, join
from qwen_chat.ppo.math.kl import KlController, kl_per_token
from qwen_chat.ppo.math.losses import policy_loss, pretraining_loss, value_loss
from qwen_chat.ppo.math.moments import merge, moments
from qwen_chat.ppo.math.probabilities import entropy, log_probabilities
from qwen_chat.ppo.math.rewards import RewardNormaliser, token_rewards, treat_truncated
from qwen_chat.ppo.math.statistics import combine, explained_variance, policy_statistics
from qwen_chat.ppo.prompts import Query, queries_for_step
from qwen_chat.ppo.recipe import PpoRecipe
from qwen_chat.ppo.rollout import Responses, Sampler, VllmSampler
from qwen_chat.ppo.scorer import Scorer
from qwen_shared.backend import device
from qwen_shared.generation.sampling import Sampling

Metrics = dict[str, float]


@dataclass(frozen=True)
class Models:
    policy: Engine
    value: Engine | None  # None: a head on the policy
    reference: Callable[..., Tensor]  # logits [B, R, V]
    scorer: Scorer
    sampler: Sampler | VllmSampler


@dataclass(frozen=True)
class Batch:
    """This rank's responses with everything the losses need: [B, R]."""

    rollout: Rollout
    loss_mask: Tensor
    advantages: Tensor
    returns: Tensor


class Trainer:
    """State between steps is in the models, `normaliser` and `kl`."""

    def __init__(
        self,
        recipe: PpoRecipe,
        models: Models,
        queries: list[Query],
        rank: int,
        world_size: int,
        precision: str,
        pretraining: Callable[[int], tuple[Tensor, Tensor, Tensor]] | None = None,
    ):
        """`pretraining(n)` gives this rank's tokens, labels and mask [B, S] of the n-th optimizer step."""
        self.recipe, self.models, self._queries = recipe, models, queries
        self._rank, self._world_size, self._precision = rank, world_size, precision
        self._pretraining = pretraining
        self.normaliser = RewardNormaliser(recipe.reward.normalise, recipe.reward.clip)
        self.kl = KlController(recipe.reward.kl_coefficient, recipe.reward.kl_target)
        self.alive: Callable[[], None] = lambda: None  # called wherever there is progress

    def step(self, step: int) -> Metrics:
        """Metrics, over all ranks, of step `step` (from 1)."""
        started = time.perf_counter()
        responses = self.generate(step)
        generated = time.perf_counter()
        rollout, entropies = self.score(responses)
        batch, metrics = self.advantages(rollout, entropies, self.models.scorer.held_out_scores(responses))
        scored = time.perf_counter()
        metrics |= self.update(step, batch)
        self.kl.update(metrics["ppo/kl"])
        metrics |= {
            "time/rollout": generated - started,
            "time/score": scored - generated,
            "time/learn": time.perf_counter() - scored,
        }
        return metrics

    def generate(self, step: int) -> Responses:
        settings, each = self.recipe.generation, self.recipe.generation.responses_per_query
        total = self.recipe.training.global_batch_size
        asked = [q for q in queries_for_step(step, self._queries, total // each, self.recipe.seed) for _ in range(each)]
        share = total // self._world_size
        first = self._rank * share
        sampling = Sampling(
            settings.max_new_tokens,
            settings.temperature,
            settings.top_p,
            self.recipe.seed,
            first=(step - 1) * total + first,  # a random stream for each response of the run
            max_length=self.recipe.data.seq_length,
        )
        with self.models.policy.whole():
            self.models.sampler.sync_weights()
            return self.models.sampler(asked[first : first + share], sampling)

    @torch.no_grad()
    def score(self, responses: Responses) -> tuple[Rollout, Tensor]:
        """The responses with the four models' outputs, and the policy's entropy [B, R]."""
        prompts, prompt_mask, ids, mask = (tensor.to(device()) for tensor in responses.tensors())
        blank = torch.zeros(mask.shape, device=device())
        with autocast(self._precision):
            scores = torch.tensor(self.models.scorer(responses), device=device())
        ended = torch.tensor(responses.ended, device=device())
        rollout = Rollout(prompts, prompt_mask, ids, mask, ended, blank, blank, blank, scores)
        found = {name: blank.clone() for name in ("logprobs", "reference_logprobs", "values", "entropies")}
        for at, part in self._micro_batches(rollout, torch.arange(len(ids), device=device())):
            inputs, width = _inputs(part), part.mask.shape[1]
            logits, values = self._forward(inputs)
            found["logprobs"][at, :width] = log_probabilities(logits, part.responses)
            found["entropies"][at, :width] = entropy(logits)
            found["values"][at, :width] = values
            del logits
            with autocast(self._precision):
                reference = self.models.reference(*inputs)
            found["reference_logprobs"][at, :width] = log_probabilities(reference, part.responses)
        entropies = found.pop("entropies")
        return replace(rollout, **found), entropies

    def advantages(self, rollout: Rollout, entropies: Tensor, held_out: list[float] | None) -> tuple[Batch, Metrics]:
        settings, every = self.recipe.reward, torch.ones_like(rollout.ended)
        raw = self._global_moments(rollout.scores, every)
        # The penalty of truncated responses must not enter the running mean of scores.
        self.normaliser.update(
            self._rank_moments(rollout.scores, every if settings.truncated == "keep" else rollout.ended)
        )
        scores, loss_mask = treat_truncated(
            self.normaliser(rollout.scores), rollout.mask, rollout.ended, settings.truncated, settings.truncated_penalty
        )
        kl = kl_per_token(rollout.logprobs, rollout.reference_logprobs, rollout.mask, settings.kl_estimator)
        rewards = token_rewards(scores, kl, rollout.mask, self.kl.coefficient)
        advantages, returns = advantages_and_returns(
            rewards, rollout.values, rollout.mask, self.recipe.advantages.gamma, self.recipe.advantages.gae_lambda
        )
        if self.recipe.advantages.whiten:
            advantages = whiten(advantages, loss_mask, self._global_moments(advantages, loss_mask))
        errors = self._global_moments(returns - rollout.values, loss_mask)
        metrics: dict[str, Tensor | float] = {
            "ppo/reward": raw[1],
            "ppo/reward_normalised": self._global_moments(scores, every)[1],
            "ppo/kl": self._global_moments(kl.sum(1), every)[1],
            "ppo/kl_coefficient": self.kl.coefficient,
            "ppo/entropy": self._global_moments(entropies, rollout.mask)[1],
            "ppo/explained_variance": explained_variance(self._global_moments(returns, loss_mask), errors),
            "ppo/response_tokens": self._global_moments(rollout.mask.sum(1), every)[1],
            "ppo/ended": self._global_moments(rollout.ended.float(), every)[1],
        }
        if held_out is not None:
            metrics["ppo/held_out_reward"] = self._global_moments(torch.tensor(held_out, device=device()), every)[1]
        return Batch(rollout, loss_mask, advantages, returns), {name: float(value) for name, value in metrics.items()}

    def update(self, step: int, batch: Batch) -> Metrics:
        training, losses = self.recipe.training, self.recipe.losses
        value_warmup = step <= training.value_warmup_steps
        size = len(batch.loss_mask) // training.minibatches
        updates: list[dict[str, Tensor]] = []
        for epoch in range(training.epochs):
            draw = torch.Generator().manual_seed(self.recipe.seed + 1_000_003 * step + epoch)
            order = torch.randperm(len(batch.loss_mask), generator=draw).to(device())
            for rows in order.split(size):
                number = (step - 1) * training.epochs * training.minibatches + len(updates)
                updates.append(self._minibatch(batch, rows, value_warmup, number))
                moved = updates[-1]["approximate_kl"].item()
                if losses.kl_limit is not None and moved > losses.kl_limit:
                    return self._summary(updates)
        return self._summary(updates)

    def _minibatch(self, batch: Batch, rows: Tensor, value_warmup: bool, number: int) -> dict[str, Tensor]:
        """One optimizer step."""
        recipe, models = self.recipe, self.models
        tokens = self._all_reduce(batch.loss_mask[rows].sum())
        parts = list(self._micro_batches(batch.rollout, rows))
        statistics = []
        for i, (at, old) in enumerate(parts):
            mask, advantages, returns = (
                x[at, : old.mask.shape[1]] for x in (batch.loss_mask, batch.advantages, batch.returns)
            )
            logits, values = self._forward(_inputs(old), learns=not value_warmup)
            logprobs = log_probabilities(logits, old.responses)
            policy_part = policy_loss(logprobs, old.logprobs, advantages, mask, recipe.losses.policy_clip, tokens)
            value_part = value_loss(values, old.values, returns, mask, recipe.losses.value_clip, tokens)
            last = i == len(parts) - 1
            if models.value is None:
                shared = recipe.value.coefficient * value_part + (0.0 if value_warmup else policy_part)
                models.policy.backward(shared, last and self._pretraining is None)
            else:
                models.value.backward(value_part, last)
                if not value_warmup:
                    models.policy.backward(policy_part, last and self._pretraining is None)
            moved = policy_statistics(
                logprobs.detach(), old.logprobs, advantages, mask, recipe.losses.policy_clip, tokens
            )
            statistics.append(moved | {"policy_loss": policy_part.detach(), "value_loss": value_part.detach()})
        found = combine(statistics)
        if self._pretraining is not None and not value_warmup:
            found["pretraining_loss"] = self._pretrain(number)
        found = {
            name: self._all_reduce(x, torch.distributed.ReduceOp.MAX if name.endswith("_max") else None)
            for name, x in found.items()
        }
        return found | self._optimizer_steps(value_warmup)

    def _optimizer_steps(self, value_warmup: bool) -> dict[str, Tensor]:
        policy, value = self.recipe.policy.lr, self.recipe.value.lr
        norms = {}
        if self.models.value is not None:
            norms["value_gradient"] = self.models.value.step([value])
        if self.models.value is None:
            norms["policy_gradient"] = self.models.policy.step([0.0 if value_warmup else policy, value])
        elif not value_warmup:
            norms["policy_gradient"] = self.models.policy.step([policy])
        return {name: torch.tensor(norm) for name, norm in norms.items()}

    def _pretrain(self, number: int) -> Tensor:
        """Adds the gradient of pretraining text; returns its unweighted loss."""
        assert self._pretraining is not None
        tokens, labels, mask = self._pretraining(number)
        total, size = self._all_reduce(mask.sum()), self.recipe.training.micro_batch_size
        parts = [x.split(size) for x in (tokens, labels, mask)]
        loss = torch.zeros((), device=device())
        for i, (ids, targets, in_loss) in enumerate(zip(*parts, strict=True)):
            self.alive()
            columns = torch.arange(ids.shape[1], device=device()).expand_as(ids)
            logits = self.models.policy(ids, torch.ones_like(ids, dtype=torch.bool), columns)
            logits = logits if self.models.value is not None else logits[0]
            coefficient = self.recipe.losses.pretraining_coefficient
            part = pretraining_loss(log_probabilities(logits, targets), in_loss, coefficient, total)
            self.models.policy.backward(part, last=i == len(parts[0]) - 1)
            loss += part.detach() / coefficient
        return loss

    def _forward(self, inputs: tuple[Tensor, ...], learns: bool = True) -> tuple[Tensor, Tensor]:
        """Logits [B, R, V] and values [B, R]."""
        if self.models.value is None:
            return self.models.policy(*inputs, learns=learns)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            logits = self.models.policy(*inputs)
        return logits, self.models.value(*inputs)

    def _micro_batches(self, rollout: Rollout, rows: Tensor) -> Iterator[tuple[Tensor, Rollout]]:
        """Sorted by length, without columns of padding only."""
        lengths = (rollout.prompt_mask.sum(1) + rollout.mask.sum(1))[rows]
        for at in rows[lengths.argsort(stable=True)].split(self.recipe.training.micro_batch_size):
            self.alive()
            yield at, rollout.select(at).align()

    def _summary(self, updates: list[dict[str, Tensor]]) -> Metrics:
        names = updates[0]
        return {
            f"ppo/{name}": torch.stack([update[name].float().cpu() for update in updates]).mean().item()
            for name in names
        }

    def _rank_moments(self, values: Tensor, mask: Tensor) -> Tensor:
        """[W, 3]."""
        own = moments(values, mask)
        if self._world_size == 1:
            return own[None]
        parts = [torch.empty_like(own) for _ in range(self._world_size)]
        torch.distributed.all_gather(parts, own)
        return torch.stack(parts)

    def _global_moments(self, values: Tensor, mask: Tensor) -> Tensor:
        return merge(self._rank_moments(values, mask))

    def _all_reduce(self, x: Tensor, op=None) -> Tensor:
        if self._world_size > 1:
            x = x.clone()
            torch.distributed.all_reduce(x, op=op or torch.distributed.ReduceOp.SUM)
        return x


def _inputs(part: Rollout) -> tuple[Tensor, Tensor, Tensor]:
    rows = join(part.prompts, part.prompt_mask, part.responses, part.mask)
    return rows.input_ids, rows.attention_mask, rows.columns
