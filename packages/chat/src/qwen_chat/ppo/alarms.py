"""Warnings that a run goes wrong, each given once."""

from __future__ import annotations

from qwen_chat.ppo.recipe import Alarms


class AlarmBell:
    """Returns new warnings. Its state is part of a checkpoint."""

    def __init__(self, limits: Alarms, held_out_reward: str | None):
        """`held_out_reward`: the name of the held-out reward."""
        self._limits, self._held_out_reward = limits, held_out_reward
        self._state: dict[str, float] = {}
        self._said: list[str] = []

    def step(self, metrics: dict[str, float]) -> list[str]:
        found = []
        first = self._state.setdefault("entropy", metrics["ppo/entropy"])
        if metrics["ppo/entropy"] < self._limits.entropy * first:
            found += self._once(
                "entropy", f"entropy has collapsed: {metrics['ppo/entropy']:.3f} nats per token, first {first:.3f}"
            )
        if self._limits.kl is not None and metrics["ppo/kl"] > self._limits.kl:
            found += self._once(
                "kl",
                f"KL is over its budget: {metrics['ppo/kl']:.2f} nats per response, alarms.kl={self._limits.kl:g}",
            )
        return found

    def held_out(self, metrics: dict[str, float]) -> list[str]:
        """After an evaluation on held-out prompts."""
        if self._held_out_reward is None:
            return []
        reward, held_out_reward = metrics["val/reward"], metrics[f"val/{self._held_out_reward}"]
        best = self._state.setdefault("best", held_out_reward)
        spread = self._state.setdefault("spread", metrics[f"val/{self._held_out_reward}_std"])
        at_best = self._state.setdefault("reward_at_best", reward)
        if held_out_reward > best:
            self._state |= {"best": held_out_reward, "reward_at_best": reward}
        elif reward > at_best and best - held_out_reward > self._limits.divergence * spread:
            return self._once(
                "divergence",
                f"the reward rises ({at_best:.3f} to {reward:.3f}) while {self._held_out_reward} falls ({best:.3f} to "
                f"{held_out_reward:.3f}) on held-out prompts: the policy exploits the reward",
            )
        return []

    def _once(self, name: str, text: str) -> list[str]:
        if name in self._said:
            return []
        self._said.append(name)
        return [f"ALARM  {text}"]

    def state_dict(self) -> dict:
        return {"state": self._state, "said": self._said}

    def load_state_dict(self, state: dict) -> None:
        self._state, self._said = dict(state["state"]), list(state["said"])
