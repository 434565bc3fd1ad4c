"""A rollout of two levels: every step for the skills, the steps with a decision for the manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from .observation_parts import Observation
from .policies import Step

Floats = NDArray[np.float32]


class LevelSamples(NamedTuple):
    """A minibatch for one level: all steps for the skills, or decisions for the manager."""

    observations: Observation
    actions: Tensor
    """Actions `(B, action_dim)` for the skills; for the manager they are not meant."""
    latents: Tensor
    steps_left: Tensor
    old_log_probs: Tensor
    advantages: Tensor
    returns: Tensor


class HierarchicalRolloutBuffer(RolloutBuffer):
    """Rollout buffer for both levels, for vector and dictionary observations.

    Rewards stay as the environment gave them. A truncated episode goes on in `bootstraps`, the value after its last
    step; a terminated one has 0 there. Arguments are those of `stable_baselines3.common.buffers.RolloutBuffer`.

    Example:
        >>> space = spaces.Box(-1, 1, (3,), np.float32)
        >>> buffer = HierarchicalRolloutBuffer(16, space, space, device="cpu", n_envs=2)
        >>> buffer.latents.shape
        (16, 2)
    """

    observations: Any
    """Observations `(buffer_size, n_envs, ...)`, by key for a dictionary."""
    latents: NDArray[np.int64]
    steps_left: NDArray[np.int64]
    decisions: NDArray[np.bool_]
    bootstraps: Floats
    manager_log_probs: Floats
    manager_values: Floats
    manager_advantages: Floats
    manager_returns: Floats

    def reset(self) -> None:
        """Forget the rollout."""
        shape = (self.buffer_size, self.n_envs)
        if isinstance(self.observation_space, spaces.Dict):
            shapes: Any = self.obs_shape
            self._observations: dict[str, NDArray[Any]] = {
                key: np.zeros((*shape, *its_shape), dtype=self.observation_space[key].dtype)
                for key, its_shape in shapes.items()
            }
        else:
            self._observations = {"": np.zeros((*shape, *self.obs_shape), dtype=self.observation_space.dtype)}
        self.observations = self._observations.get("", self._observations)
        self.actions = np.zeros((*shape, self.action_dim), dtype=self.action_space.dtype)
        self.latents = np.zeros(shape, dtype=np.int64)
        self.steps_left = np.zeros(shape, dtype=np.int64)
        self.decisions = np.zeros(shape, dtype=np.bool_)
        for name in ("rewards", "episode_starts", "bootstraps", "values", "log_probs", "advantages", "returns"):
            setattr(self, name, np.zeros(shape, dtype=np.float32))
        for name in ("manager_values", "manager_log_probs", "manager_advantages", "manager_returns"):
            setattr(self, name, np.zeros(shape, dtype=np.float32))
        self.pos, self.full = 0, False

    def add(  # type: ignore[override]
        self,
        obs: NDArray[Any] | dict[str, NDArray[Any]],
        step: Step,
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        bootstrap: NDArray[Any],
    ) -> None:
        """Add a step of all environments.

        Args:
            obs: Observations before the step.
            step: What both levels did.
            reward: `(n_envs,)` rewards of the environment.
            episode_start: `(n_envs,)` bool, True where `obs` begins an episode.
            bootstrap: `(n_envs,)` values after the step where it truncated the episode, 0 elsewhere.
        """
        for key, array in self._observations.items():
            given = obs[key] if isinstance(obs, dict) else obs
            array[self.pos] = np.asarray(given).reshape(array.shape[1:])
        self.actions[self.pos] = step.actions.cpu().numpy().reshape(self.n_envs, self.action_dim)
        for mine, part in (
            (self.latents, step.latents),
            (self.steps_left, step.steps_left),
            (self.decisions, step.decisions),
            (self.values, step.values),
            (self.log_probs, step.log_probs),
            (self.manager_values, step.manager_values),
            (self.manager_log_probs, step.manager_log_probs),
        ):
            mine[self.pos] = part.cpu().numpy()
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.bootstraps[self.pos] = bootstrap
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Estimate advantages of both levels by `two_level_advantages`, and returns (advantage + value).

        Args:
            last_values: `(n_envs,)` values of going on after the last step.
            dones: `(n_envs,)` bool, True where the last step ended an episode.
        """
        ends = np.concatenate([self.episode_starts[1:] > 0, np.asarray(dones, dtype=bool)[None]])
        after = last_values.cpu().numpy().reshape(self.n_envs)
        common = (self.rewards, ends, self.bootstraps, after, self.gamma, self.gae_lambda)
        everywhere = np.ones_like(self.decisions)
        self.advantages = two_level_advantages(self.values, everywhere, *common)
        self.manager_advantages = two_level_advantages(self.manager_values, self.decisions, *common)
        self.returns = self.advantages + self.values
        self.manager_returns = self.manager_advantages + self.manager_values

    def get(self, batch_size: int | None = None) -> Iterator[LevelSamples]:  # type: ignore[override]
        """Give all steps once, in minibatches for the skills."""
        everywhere = np.ones_like(self.decisions)
        yield from self._minibatches(everywhere, batch_size, self.log_probs, self.advantages, self.returns)

    def get_decisions(self, batch_size: int | None = None) -> Iterator[LevelSamples]:
        """Give the steps with a decision once, in minibatches for the manager."""
        mine = (self.manager_log_probs, self.manager_advantages, self.manager_returns)
        yield from self._minibatches(self.decisions, batch_size, *mine)

    def _minibatches(
        self, where: NDArray[np.bool_], batch_size: int | None, log_probs: Floats, advantages: Floats, returns: Floats
    ) -> Iterator[LevelSamples]:
        assert self.full, "the rollout is not complete"
        steps, envs = np.nonzero(where)
        order = np.random.permutation(len(steps))  # noqa: NPY002  # stable-baselines3 seeds this one
        for start in range(0, len(order), batch_size or len(order)):
            chosen = order[start : start + (batch_size or len(order))]
            at = (steps[chosen], envs[chosen])
            seen = {key: self.to_torch(array[at]) for key, array in self._observations.items()}
            yield LevelSamples(
                seen.get("", seen),
                self.to_torch(self.actions[at].astype(np.float32, copy=False)),
                self.to_torch(self.latents[at]),
                self.to_torch(self.steps_left[at]),
                self.to_torch(log_probs[at]),
                self.to_torch(advantages[at]),
                self.to_torch(returns[at]),
            )


def two_level_advantages(
    values: Floats,
    decisions: NDArray[np.bool_],
    rewards: Floats,
    ends: NDArray[np.bool_],
    bootstraps: Floats,
    last_values: Floats,
    gamma: float,
    gae_lambda: float,
) -> Floats:
    """Generalized advantage estimates on the clock of a level; all arrays `(steps, n_envs)`.

    A decision at step t that holds for τ steps, until the next decision at t + τ, has

        δ_t = Σ_{i<τ} γ^i r_{t+i} + γ^τ V_{t+τ} − V_t        and        A_t = δ_t + γ^τ λ A_{t+τ},

    with no next decision where the episode ends or the rollout does: there V is the value after that step. With a
    decision at every step this is generalized advantage estimation as usual (Schulman et al., 2016); with λ = 1 the
    manager's advantage is the return minus its baseline, as in HiPPO.

    Args:
        values: Baseline at the decisions; what stands elsewhere is not read.
        decisions: True where the level chose.
        rewards: Rewards of the environment.
        ends: True where the step ended an episode.
        bootstraps: Value after a step that truncated an episode, 0 after one that terminated it.
        last_values: `(n_envs,)` value of going on after the last step, where that did not end an episode.
        gamma: Discount per environment step.
        gae_lambda: Trace decay per decision.

    Returns:
        Advantages at the decisions, 0 elsewhere.
    """
    advantages = np.zeros_like(rewards)
    going_on = last_values
    for t in reversed(range(len(rewards))):
        target = rewards[t] + gamma * np.where(ends[t], bootstraps[t], going_on)
        advantages[t] = np.where(decisions[t], target - values[t], 0)
        going_on = np.where(decisions[t], values[t] + gae_lambda * advantages[t], target)
    return advantages


def usage_entropy(latents: NDArray[np.int64], num_latents: int) -> float:
    """Entropy of how often each latent was chosen, in nats; `log(num_latents)` if all are used alike."""
    share = torch.bincount(torch.as_tensor(latents), minlength=num_latents).double()
    share /= max(share.sum().item(), 1)
    return float(torch.special.entr(share).sum())
