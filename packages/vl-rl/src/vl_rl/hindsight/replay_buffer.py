"""A replay buffer that relabels each finished path for the tasks that it solves best.

Li, Pinto and Abbeel, *Generalized Hindsight for Reinforcement Learning*, NeurIPS 2020, as a replay buffer of
stable-baselines3. Each transition is stored once; beside it lie the tasks, rewards and ends of its new labels, so that
sampling is indexing and nothing else.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from vl_rl.common.finite import check_finite
from vl_rl.hindsight.policy import check_policy, value_function
from vl_rl.hindsight.returns import Paths
from vl_rl.hindsight.strategies import STRATEGIES, Hindsight, Strategy, Value
from vl_rl.hindsight.tasks import (
    Array,
    EndingTasks,
    TaskFamily,
    Transitions,
    check_tasks,
    checked_endings,
    checked_rewards,
)

__all__ = ["GeneralizedHindsightReplayBuffer"]


class _Stored(NamedTuple):
    """Place of a complete path in the buffer."""

    env: int
    start: int
    length: int
    added: int
    """Rows that the buffer had been given before the path's first."""


class GeneralizedHindsightReplayBuffer(HerReplayBuffer):
    """Replay buffer for environments with a family of tasks, such as :class:`MultiTaskEnv`.

    A path is relabeled once, when its episode is complete; transitions of an incomplete one are not sampled. It works
    with SAC, TD3, DDPG and DQN unchanged, and with any number of environments. The family comes from the
    environment's attribute ``task_family``, so that both compute rewards by the same function.

    Args:
        buffer_size: Transitions in all; it must hold more than one episode of each environment.
        observation_space: Dictionary with ``observation``, ``achieved_goal`` and ``desired_goal``.
        action_space: The environment's actions.
        env: The environment; the algorithm passes it.
        device: Where samples go.
        n_envs: Number of environments.
        optimize_memory_usage: Must be false, as for all dictionary buffers.
        handle_timeout_termination: True to bootstrap where an episode is truncated.
        strategy: ``"air"``, ``"advantage"``, ``"reward"``, ``"random"``, ``"her_final"``, ``"her_future"``, ``"none"``,
            or a function of :class:`Hindsight` that returns tasks; one at the top of a module, if the buffer is to be
            saved.
        n_relabels: New labels of each path, k.
        n_candidates: Tasks among which ``air``, ``advantage`` and ``reward`` choose, the path's own one included.
        n_cached: Earlier paths with which ``air`` compares; those that the buffer has overwritten do not count.
        gamma: Discount of the returns that are compared; the algorithm's.
        relabel_fraction: Share of new labels in each batch; by default k / (k + 1), so that all labels count alike.
        ties: What decides in ``air`` between equal percentiles, ``"return"`` or ``"advantage"``.
        seed: Seed of the candidates and of sampling; by default drawn from NumPy's global state, which the algorithm's
            own ``seed`` sets.

    Raises:
        ValueError: If an argument is out of range, or the environment has no ``task_family``.

    Example:
        >>> model = SAC(
        ...     "MultiInputPolicy",
        ...     "vl_rl/PointTrajectory-v0",
        ...     gamma=0.9,
        ...     replay_buffer_class=GeneralizedHindsightReplayBuffer,
        ...     replay_buffer_kwargs={"strategy": "air", "gamma": 0.9},
        ...     policy_kwargs={"features_extractor_class": TaskExtractor},
        ... )
        >>> model.learn(15_000, callback=HindsightCallback())
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        env: VecEnv,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        strategy: str | Strategy = "air",
        n_relabels: int = 1,
        n_candidates: int = 100,
        n_cached: int = 500,
        gamma: float = 0.99,
        relabel_fraction: float | None = None,
        ties: str = "return",
        seed: int | None = None,
    ):
        if isinstance(strategy, str) and strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)} or a function, got {strategy!r}")
        if not 1 <= n_relabels <= n_candidates:
            raise ValueError(
                f"n_relabels must lie between 1 and n_candidates = {n_candidates}, got {n_relabels}; "
                "for no relabeling use strategy='none'"
            )
        if n_cached < 0:
            raise ValueError(f"n_cached must not be negative, got {n_cached}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must lie between 0 and 1, got {gamma}")
        if relabel_fraction is not None and not 0 <= relabel_fraction <= 1:
            raise ValueError(f"relabel_fraction must lie between 0 and 1, got {relabel_fraction}")
        if ties not in ("return", "advantage"):
            raise ValueError(f"ties must be 'return' or 'advantage', got {ties!r}")
        super().__init__(
            buffer_size,
            observation_space,
            action_space,
            env,
            device=device,
            n_envs=n_envs,
            optimize_memory_usage=optimize_memory_usage,
            handle_timeout_termination=handle_timeout_termination,
        )
        # The parent keeps a dictionary for each transition, which is of no use here.
        self.infos = np.empty((0, n_envs), dtype=object)
        self.strategy = strategy
        self.n_relabels = 0 if strategy == "none" else n_relabels
        self.n_candidates, self.n_cached, self.gamma, self.ties = n_candidates, n_cached, gamma, ties
        self.relabel_fraction = self.n_relabels / (self.n_relabels + 1)
        if relabel_fraction is not None and self.n_relabels:
            self.relabel_fraction = relabel_fraction
        # Inside SB3 the global state has just been seeded by the algorithm.
        self._rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)  # noqa: NPY002
        self._family: TaskFamily | None = _family_of(env)
        self._value: Value | None = None
        self._is_attached = False
        size = (self.n_relabels, self.buffer_size, n_envs)
        desired = observation_space["desired_goal"]
        self._tasks = np.zeros((*size, *(desired.shape or ())), dtype=desired.dtype)
        self._rewards = np.zeros(size, dtype=np.float32)
        # Ends by the path's own task and by each new one, where the family has them.
        ends = (self.n_relabels + 1, *size[1:]) if isinstance(self._family, EndingTasks) else (0, 0, 0)
        self._ends = np.zeros(ends, dtype=np.bool_)
        self._stored: deque[_Stored] = deque(maxlen=n_cached)
        self._added = 0
        self._lengths = np.zeros(n_envs, dtype=np.int64)
        self._valid: NDArray[np.int64] | None = None
        self._episodes = 0
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=100)

    # ---- Adding ----

    def add(  # type: ignore[override]
        self,
        obs: dict[str, Array],
        next_obs: dict[str, Array],
        action: Array,
        reward: Array,
        done: Array,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one transition of each environment; relabel the paths that it completes.

        Raises:
            ValueError: If a reward or an observation is not finite, in which case nothing is stored; or if an episode
                is longer than the buffer, or the family's methods return what they should not.
        """
        for name, values in {"reward": reward, **next_obs}.items():
            check_finite(name, np.asarray(values), "; nothing was stored; mend the environment's step()")
        if self._lengths.max() >= self.buffer_size - 1:
            raise ValueError(
                "buffer_size must exceed the length of an episode times the number of environments, got "
                f"{self.buffer_size} rows for each of {self.n_envs} environments and an episode of more than "
                f"{self._lengths.max()} steps"
            )
        if (self.ep_length[self.pos] > 0).any():
            self._valid = None
        self._added += 1
        self._lengths += 1
        super().add(obs, next_obs, action, reward, done, infos)

    def _compute_episode_length(self, env_idx: int) -> None:
        start = int(self._current_ep_start[env_idx])
        super()._compute_episode_length(env_idx)
        self._valid = None
        length, self._lengths[env_idx] = int(self._lengths[env_idx]), 0
        self._relabel(_Stored(env_idx, start, length, self._added - length))

    def _relabel(self, stored: _Stored) -> None:
        family = self._family
        if family is None:
            raise RuntimeError("the buffer was loaded without an environment; call set_env(model.get_env()) first")
        rows = (stored.start + np.arange(stored.length)) % self.buffer_size
        envs = np.full(stored.length, stored.env)
        path = self._transitions(rows, envs)
        own = self.observations["desired_goal"][rows[0], stored.env]
        tasks = own[None, None][:0]
        if self.n_relabels:
            situation = Hindsight(
                family=family,
                path=path,
                task=own,
                rng=self._rng,
                gamma=self.gamma,
                n_relabels=self.n_relabels,
                n_candidates=self.n_candidates,
                earlier=self._earlier,
                value=self._value,
                ties=self.ties,
            )
            chosen = STRATEGIES[self.strategy] if isinstance(self.strategy, str) else self.strategy
            found = np.asarray(chosen(situation))
            self._check_strategy(found, stored.length, own)
            self._check_rewards(family, path, own, self.rewards[rows, stored.env])
            check_tasks(found.reshape(-1, found.shape[-1]), family.task_space, "the strategy's tasks")
            # HER's final strategy has one task for all labels.
            found = found[np.arange(self.n_relabels) % len(found)]
            tasks = (found if found.ndim == 3 else found[:, None]).astype(own.dtype)
            self._tasks[:, rows, stored.env] = tasks
            self._rewards[:, rows, stored.env] = checked_rewards(family, path, tasks)
        if isinstance(family, EndingTasks):
            labels = [np.broadcast_to(own, (1, stored.length, len(own)))]
            labels += [np.broadcast_to(tasks, (len(tasks), stored.length, len(own)))]
            self._ends[:, rows, stored.env] = checked_endings(family, path, np.concatenate(labels))
        self._stored.append(stored)
        self._count(rows, stored.env, own, tasks)

    def _check_strategy(self, found: Array, length: int, own: Array) -> None:
        if found.ndim not in (2, 3) or not len(found) or found.shape[1:] not in (own.shape, (length, *own.shape)):
            raise ValueError(
                f"strategy must return tasks of shape (k, {len(own)}) or (k, {length}, {len(own)}) with k at least 1, "
                f"got {found.shape}"
            )

    def _check_rewards(self, family: TaskFamily, path: Transitions, own: Array, stored: Array) -> None:
        """See that the environment's rewards are the family's, which a wrapper may have changed."""
        rewards = checked_rewards(family, path, own)
        difference = float(np.abs(rewards - stored).mean())
        if difference > 1e-3 * (1 + float(np.abs(rewards).mean())):
            raise ValueError(
                f"rewards of the environment must be those of its task_family, got a mean difference of "
                f"{difference:.3g} in an episode; leave out wrappers that change rewards, actions or observations"
            )

    def _transitions(self, rows: Array, envs: Array) -> Transitions:
        actions = self.actions[rows, envs]
        if isinstance(self.action_space, spaces.Box):
            low, high = self.action_space.low, self.action_space.high
            # As the policy does when it hands an action to the environment.
            actions = low + (0.5 * (actions.reshape(-1, *low.shape) + 1.0) * (high - low))
        elif isinstance(self.action_space, spaces.Discrete):
            actions = actions[:, 0]
        after = self.next_observations
        return Transitions(
            self.observations["observation"][rows, envs],
            actions,
            after["observation"][rows, envs],
            after["achieved_goal"][rows, envs],
        )

    def _earlier(self) -> Paths | None:
        """Cached paths that still lie in the buffer."""
        # Paths are stored in the order of their ends, not of their beginnings.
        kept = [one for one in self._stored if one.added >= self._added - self.buffer_size]
        if not kept:
            return None
        env, start, length, _ = np.array(kept).T
        steps = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        rows = (np.repeat(start, length) + steps) % self.buffer_size
        return Paths(self._transitions(rows, np.repeat(env, length)), length)

    # ---- Sampling ----

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Draw transitions of complete episodes, each with its own task or one of its new ones.

        Without an attached agent it warns once, see `attach`.

        Raises:
            RuntimeError: If no episode is complete.
        """
        if not self._is_attached:
            self._is_attached = True
            warnings.warn(
                "no agent is attached to the replay buffer, so nobody has seen to it that the policy ignores "
                "achieved_goal and has the buffer's gamma; pass callback=HindsightCallback() to learn()",
                stacklevel=2,
            )
        if self._valid is None:
            self._valid = np.flatnonzero(self.ep_length > 0)
        if not len(self._valid):
            raise RuntimeError(
                "no episode is complete, so nothing can be sampled; set learning_starts of the algorithm above the "
                "length of an episode times the number of environments"
            )
        chosen = self._valid[self._rng.integers(len(self._valid), size=batch_size)]
        rows, envs = np.unravel_index(chosen, self.ep_length.shape)
        labels = np.zeros(batch_size, dtype=np.int64)
        if self.n_relabels:
            new = self._rng.random(batch_size) < self.relabel_fraction
            labels = np.where(new, self._rng.integers(1, self.n_relabels + 1, size=batch_size), 0)
        return self._labeled(rows, envs, labels, env)

    def _labeled(
        self, rows: Array, envs: Array, labels: NDArray[np.int64], env: VecNormalize | None
    ) -> DictReplayBufferSamples:
        """Transitions with the labels of given numbers; 0 is the own task."""
        before = {key: values[rows, envs] for key, values in self.observations.items()}
        after = {key: values[rows, envs] for key, values in self.next_observations.items()}
        rewards = self.rewards[rows, envs]
        dones = self.dones[rows, envs] * (1 - self.timeouts[rows, envs])
        new = labels > 0
        at = (labels[new] - 1, rows[new], envs[new])
        rewards[new] = self._rewards[at]
        for observation in (before, after):
            observation["desired_goal"][new] = self._tasks[at]
        if len(self._ends):
            # What ended the episode for its own task alone does not end it for another.
            fell = dones[new] * ~self._ends[0, rows[new], envs[new]]
            dones[new] = np.maximum(fell, self._ends[labels[new], rows[new], envs[new]])
        first: Any = self._normalize_obs(before, env)
        second: Any = self._normalize_obs(after, env)
        return DictReplayBufferSamples(
            observations={key: self.to_torch(values) for key, values in first.items()},
            actions=self.to_torch(self.actions[rows, envs]),
            next_observations={key: self.to_torch(values) for key, values in second.items()},
            dones=self.to_torch(dones.reshape(-1, 1)),
            rewards=self.to_torch(self._normalize_reward(rewards.reshape(-1, 1), env)),
        )

    # ---- The agent, the environment, the log ----

    def attach(self, model: BaseAlgorithm) -> None:
        """Attach the agent whose values ``advantage`` needs; :class:`HindsightCallback` does it for you.

        The agent is not saved with the buffer.

        Raises:
            ValueError: If the policy reads ``achieved_goal``, or the agent's discount is another one.
            TypeError: If values are needed and the model has none.
        """
        check_policy(model)
        self._is_attached = True
        if model.gamma != self.gamma:  # type: ignore[attr-defined]
            raise ValueError(
                f"gamma of the replay buffer must be the algorithm's, got {self.gamma} and "
                f"{model.gamma}; pass it in replay_buffer_kwargs"  # type: ignore[attr-defined]
            )
        uses_values = self.strategy == "advantage" or self.ties == "advantage" or callable(self.strategy)
        self._value = value_function(model) if uses_values else None

    def set_env(self, env: VecEnv) -> None:
        """Set the environment of a buffer that was loaded.

        Raises:
            ValueError: If it has no ``task_family``, or another number of environments than the buffer.
        """
        if env.num_envs != self.n_envs:
            raise ValueError(f"env must have {self.n_envs} environments like the saved buffer, got {env.num_envs}")
        family = _family_of(env)
        super().set_env(env)
        self._family = family

    def statistics(self) -> dict[str, float]:
        """Episodes so far, and means over the last 100 of them: returns for the own and first new task, tasks kept."""
        found = {"episodes": float(self._episodes)}
        if self._recent:
            found |= dict(zip(("return_own", "return_relabeled", "kept"), np.mean(self._recent, axis=0), strict=True))
        return found if self.n_relabels else {name: found[name] for name in found if name in ("episodes", "return_own")}

    def _count(self, rows: Array, env: int, own: Array, tasks: Array) -> None:
        self._episodes += 1
        discounts = self.gamma ** np.arange(len(rows))
        before = float(discounts @ self.rewards[rows, env])
        after = float(discounts @ self._rewards[0, rows, env]) if len(tasks) else before
        self._recent.append((before, after, float((tasks == own).all(axis=-1).mean()) if len(tasks) else 1.0))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the environment, its family and the agent.

        Raises:
            ValueError: If the strategy is a function that cannot be saved.
        """
        if callable(self.strategy) and "<" in self.strategy.__qualname__:
            raise ValueError(
                f"strategy must be a function at the top of a module for the buffer to be saved, got "
                f"{self.strategy.__qualname__}; give it a name there"
            )
        return {**super().__getstate__(), "_family": None, "_value": None, "_is_attached": False}


def _family_of(env: VecEnv) -> TaskFamily:
    if not env.has_attr("task_family"):
        raise ValueError(
            "env must have the attribute task_family, which GeneralizedHindsightReplayBuffer asks for rewards; derive "
            "the environment from vl_rl.MultiTaskEnv"
        )
    family: TaskFamily = env.get_attr("task_family")[0]
    return family
