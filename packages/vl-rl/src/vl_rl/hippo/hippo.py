"""HiPPO: hierarchical proximal policy optimization.

Li, Florensa, Clavera, Abbeel, "Sub-policy Adaptation for Hierarchical Reinforcement Learning", ICLR 2020. A skill's
latent counts as a part of its observation, so the gradient of a trajectory's probability falls apart into one term for
the manager's decisions and one for the actions (equation 3 and lemma 1), and each is a clipped surrogate (section 4.1).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from vl_rl.common.finite import FiniteInputs

from .commitment import checked_commitment
from .policies import (
    HierarchicalActorCriticPolicy,
    HierarchicalCnnPolicy,
    HierarchicalMultiInputPolicy,
    Level,
    checked_num_latents,
)
from .rollout_buffer import HierarchicalRolloutBuffer, LevelSamples, usage_entropy

Self = TypeVar("Self", bound="HiPPO")


class HiPPO(FiniteInputs, OnPolicyAlgorithm):
    """Hierarchical proximal policy optimization with random time commitments.

    Args:
        policy: `"HierarchicalMlpPolicy"`, `"HierarchicalCnnPolicy"` for images, `"HierarchicalMultiInputPolicy"` for
            Dict observations, or a class.
        env: An environment, a vector of them, or the id of one. One with `action_masks` is refused.
        num_latents: Number of skills that the manager chooses from, at least 2.
        commitment: `(T_min, T_max)`: the manager keeps a latent for a number of steps drawn uniformly from these.
        learning_rate: Learning rate of Adam, or a function of the remaining progress (1 to 0).
        n_steps: Steps per environment and update.
        batch_size: Minibatch size for the skills.
        manager_batch_size: Minibatch size for the manager, which has one decision in `(T_min + T_max) / 2` steps; by
            default `batch_size`.
        n_epochs: Passes over each rollout.
        gamma: Discount per environment step.
        gae_lambda: Trace decay, per step for the skills and per decision for the manager.
        clip_range: Clipping of the probability ratio at both levels, or a function of the remaining progress.
        normalize_advantage: Standardize the advantages of each minibatch.
        ent_coef: Weight of the entropy of the actions.
        manager_ent_coef: Weight of the entropy of the latents.
        vf_coef: Weight of the loss of the baselines.
        max_grad_norm: Largest norm of the gradient, for each level by itself.
        target_kl: Stop the epochs of a level when its approximate divergence passes 1.5 times this.
        frozen: Levels that do not learn: `"skills"`, `"manager"`, both or none. See `freeze`.
        rollout_buffer_class: A subclass of `HierarchicalRolloutBuffer`.
        rollout_buffer_kwargs: Its keyword arguments.
        stats_window_size: Episodes in the logged means.
        tensorboard_log: Folder for TensorBoard.
        policy_kwargs: Keyword arguments of the policy, such as `skill_keys` or `skill_slice`.
        verbose: 0 prints nothing, 1 information, 2 more.
        seed: Seed of everything random.
        device: PyTorch device.
        _init_setup_model: Build the networks now.

    Raises:
        ValueError: If an argument is out of its range; the message names it. During training, if an observation or a
            reward is not finite.

    Example:
        >>> model = HiPPO("HierarchicalMlpPolicy", "Pendulum-v1", num_latents=4, commitment=(2, 5), n_steps=64)
        >>> model = model.learn(64)
        >>> observation = model.get_env().reset()
        >>> action, state = model.predict(observation, episode_start=np.array([True]))
        >>> action, state = model.predict(observation, state, episode_start=np.array([False]))
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "HierarchicalMlpPolicy": HierarchicalActorCriticPolicy,
        "HierarchicalCnnPolicy": HierarchicalCnnPolicy,
        "HierarchicalMultiInputPolicy": HierarchicalMultiInputPolicy,
        "MlpPolicy": HierarchicalActorCriticPolicy,
        "CnnPolicy": HierarchicalCnnPolicy,
        "MultiInputPolicy": HierarchicalMultiInputPolicy,
    }
    policy: HierarchicalActorCriticPolicy  # type: ignore[assignment]
    rollout_buffer: HierarchicalRolloutBuffer

    def __init__(
        self,
        policy: str | type[HierarchicalActorCriticPolicy],
        env: GymEnv | str,
        num_latents: int = 6,
        commitment: Sequence[int] = (5, 15),
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        manager_batch_size: int | None = None,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        manager_ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
        frozen: Iterable[Level] = (),
        rollout_buffer_class: type[HierarchicalRolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=rollout_buffer_class or HierarchicalRolloutBuffer,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.num_latents = checked_num_latents(num_latents)
        self.commitment = checked_commitment(commitment)
        counts = {"n_steps": n_steps, "batch_size": batch_size, "n_epochs": n_epochs}
        if manager_batch_size is not None:
            counts["manager_batch_size"] = manager_batch_size
        for name, value in counts.items():
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {value}")
        self.batch_size = batch_size
        self.manager_batch_size = batch_size if manager_batch_size is None else manager_batch_size
        self.n_epochs = n_epochs
        self.clip_range = clip_range
        self.normalize_advantage = normalize_advantage
        self.manager_ent_coef = manager_ent_coef
        self.target_kl = target_kl
        self.frozen = _checked_levels(frozen, "frozen")
        self._latents = np.zeros(0, dtype=np.int64)
        self._steps_left = np.zeros(0, dtype=np.int64)
        if self.env is not None:
            _refuse_action_masks(self.env)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self.commitment = checked_commitment(self.commitment)  # a file holds a list
        given = self.policy_kwargs
        self.policy_kwargs = {**given, "num_latents": self.num_latents, "commitment": self.commitment}
        try:
            super()._setup_model()
        finally:
            self.policy_kwargs = given  # what the user gave is what is saved and compared on loading
        self.policy.set_frozen(self.frozen)
        self.clip_range = FloatSchedule(self.clip_range)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment; one with `action_masks` is refused."""
        super().set_env(env, force_reset)
        assert self.env is not None
        _refuse_action_masks(self.env)

    # ---- Freezing and transfer ----

    def freeze(self, *levels: Level) -> None:
        """Stop `"skills"` or `"manager"` from learning: their weights stay bit for bit. Baselines always learn."""
        self.frozen |= _checked_levels(levels, "levels")
        self.policy.set_frozen(self.frozen)

    def unfreeze(self, *levels: Level) -> None:
        """Let levels learn again."""
        self.frozen -= _checked_levels(levels, "levels")
        self.policy.set_frozen(self.frozen)

    def load_skills(self, source: HiPPO | str | Path) -> None:
        """Take the skills of another model, whatever its manager is.

        Args:
            source: A model, or the path that one was saved to. Its skills must see an observation of the same shape,
                and the latents, the integration and the hidden layers must be the same. Skills go on to
                see steps left as shares of the longest commitment that they learned with; a warning says where this
                model's are longer.

        Raises:
            ValueError: If its skills do not fit.
        """
        if isinstance(source, HiPPO):
            weights: dict[str, Tensor] = source.policy.state_dict()
        else:
            _, saved, _ = load_from_zip_file(source, device=self.device, load_data=False)
            weights = saved["policy"]  # type: ignore[assignment]
        skills = {key.removeprefix("skills."): value for key, value in weights.items() if key.startswith("skills.")}
        mine = {key: tuple(value.shape) for key, value in self.policy.skills.state_dict().items()}
        theirs = {key: tuple(value.shape) for key, value in skills.items()}
        if mine != theirs:
            different = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
            raise ValueError(
                f"source must hold skills with the shapes of this model, but {different[0]} has the shape "
                f"{theirs.get(different[0])} instead of {mine.get(different[0])}; give both models the same "
                "num_latents, actions, net_arch, integration and part of the observation (skill_keys or skill_slice)"
            )
        if (longest := int(skills["max_commitment"])) < self.commitment[1]:
            warnings.warn(
                f"these skills learned with commitments of at most {longest} steps, and this model's have up to "
                f"{self.commitment[1]}; they see steps left as shares of {longest}, so shares above 1 are new to them",
                stacklevel=2,
            )
        self.policy.skills.load_state_dict(skills)

    # ---- Collecting ----

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: HierarchicalRolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer; commitments go on where the last rollout ended.

        Returns:
            False if the callback stopped it.

        Raises:
            ValueError: If an observation or a reward is not finite.
        """
        assert self._last_obs is not None
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        if len(self._latents) != env.num_envs:
            self._latents, self._steps_left = np.zeros((2, env.num_envs), dtype=np.int64)
        env = self.checked(env)
        callback.on_rollout_start()
        dones = np.zeros(env.num_envs, dtype=bool)
        for _ in range(n_rollout_steps):
            assert self._last_obs is not None
            with torch.no_grad():
                step = self.policy(
                    obs_as_tensor(self._last_obs, self.device),
                    torch.as_tensor(self._latents, device=self.device),
                    torch.as_tensor(self._steps_left, device=self.device),
                    torch.as_tensor(np.asarray(self._last_episode_starts, dtype=bool), device=self.device),
                )
            actions = clipped_actions = step.actions.cpu().numpy()
            if isinstance(self.action_space, spaces.Box):
                clipped_actions = np.clip(actions, self.action_space.low, self.action_space.high)
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            latents, steps_left = step.latents.cpu().numpy(), step.steps_left.cpu().numpy() - 1
            bootstraps = self._truncation_values(dones, infos, latents, steps_left)
            rollout_buffer.add(self._last_obs, step, rewards, self._last_episode_starts, bootstraps)  # type: ignore[arg-type]
            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones
            self._latents, self._steps_left = latents, steps_left
        assert self._last_obs is not None
        after = obs_as_tensor(self._last_obs, self.device)
        rollout_buffer.compute_returns_and_advantage(
            last_values=self._values_after(after, self._latents, self._steps_left), dones=dones
        )
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _truncation_values(
        self, dones: np.ndarray, infos: list[dict[str, Any]], latents: np.ndarray, steps_left: np.ndarray
    ) -> np.ndarray:
        """Give values of going on after a truncated episode, and 0 for the others; `(n_envs,)`.

        A vector environment of stable-baselines3 sets `TimeLimit.truncated` only if the episode was not terminated too.
        """
        values = np.zeros(len(dones), dtype=np.float32)
        for index in np.flatnonzero(dones):
            if infos[index].get("TimeLimit.truncated", False):
                last = infos[index]["terminal_observation"]
                at = slice(index, index + 1)
                observation = self.policy.obs_to_tensor(last)[0]
                values[at] = self._values_after(observation, latents[at], steps_left[at]).cpu().numpy()
        return values

    def _values_after(self, observation: Any, latents: np.ndarray, steps_left: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self.policy.continuation_values(
                observation,
                torch.as_tensor(latents, device=self.device),
                torch.as_tensor(steps_left, device=self.device),
            )

    # ---- Learning ----

    def train(self) -> None:
        """Run the epochs of both levels on the rollout, and log what happened."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        buffer = self.rollout_buffer
        active: list[Level] = ["skills", "manager"]
        logs: dict[str, list[float]] = {}
        for _ in range(self.n_epochs):
            for level in tuple(active):
                batches = (
                    buffer.get(self.batch_size) if level == "skills" else buffer.get_decisions(self.manager_batch_size)
                )
                for batch in batches:
                    loss, terms = self.level_loss(level, batch)
                    for name, value in terms.items():
                        logs.setdefault(f"{level}_{name}", []).append(value)
                    if self.target_kl is not None and terms["approx_kl"] > 1.5 * self.target_kl:
                        active.remove(level)
                        break
                    self._descend(loss, self.policy.level_parameters(level))
            self._n_updates += 1
        self._log(logs)

    def level_loss(self, level: Level, batch: LevelSamples) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate, entropy and baseline of a level on a minibatch.

        Args:
            level: `"skills"` on steps, or `"manager"` on decisions.
            batch: Minibatch of the rollout buffer.

        Returns:
            The loss, and its terms for the log. A frozen level has only the loss of its baseline.
        """
        policy = self.policy
        if level == "manager":
            outcome = policy.evaluate_manager(batch.observations, batch.latents, batch.steps_left)
        else:
            actions = batch.actions
            if isinstance(self.action_space, spaces.Discrete):
                actions = actions.long().flatten()
            outcome = policy.evaluate_skills(batch.observations, actions, batch.latents, batch.steps_left)
        values, log_probs, entropies = outcome
        advantages = batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        log_ratio = log_probs - batch.old_log_probs
        ratio = log_ratio.exp()
        surrogate = torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
        value_loss = torch.nn.functional.mse_loss(values, batch.returns)
        entropy = entropies.mean()
        loss = self.vf_coef * value_loss
        if level not in self.frozen:
            loss = loss - surrogate - (self.manager_ent_coef if level == "manager" else self.ent_coef) * entropy
        with torch.no_grad():
            terms = {
                "policy_loss": -surrogate.detach(),
                "value_loss": value_loss.detach(),
                "entropy": entropy.detach(),
                "approx_kl": (ratio - 1 - log_ratio).mean(),
                "clip_fraction": ((ratio - 1).abs() > clip).float().mean(),
            }
        return loss, {name: value.item() for name, value in terms.items()}

    def _descend(self, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """Take a step of the optimizer; parameters without gradients, those of the other level, stay as they are."""
        self.policy.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        self.policy.optimizer.step()

    def _log(self, logs: dict[str, list[float]]) -> None:
        buffer = self.rollout_buffer
        for name, values in logs.items():
            self.logger.record(f"train/{name}", np.mean(values))
        made = buffer.decisions
        self.logger.record("train/skills_explained_variance", _explained(buffer.values, buffer.returns))
        self.logger.record(
            "train/manager_explained_variance", _explained(buffer.manager_values[made], buffer.manager_returns[made])
        )
        self.logger.record("train/latent_usage_entropy", usage_entropy(buffer.latents[made], self.num_latents))
        self.logger.record("rollout/decisions", int(made.sum()))
        if self.policy.skills.log_std is not None:
            self.logger.record("train/std", self.policy.skills.log_std.exp().mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", self.clip_range(self._current_progress_remaining))  # type: ignore[operator]

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "HiPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps, rounded up to whole rollouts; arguments as for PPO."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)


def _checked_levels(levels: Iterable[Level], name: str) -> frozenset[Level]:
    chosen = (levels,) if isinstance(levels, str) else tuple(levels)
    if wrong := [level for level in chosen if level not in ("manager", "skills")]:
        raise ValueError(f"{name} must be 'skills', 'manager' or both, got {wrong[0]!r}")
    return frozenset(chosen)  # type: ignore[arg-type]


def _refuse_action_masks(env: VecEnv) -> None:
    if env.has_attr("action_masks"):
        raise ValueError(
            "env must not have action_masks, which HiPPO would ignore; use sb3_contrib.MaskablePPO, "
            "or remove the method from the environment"
        )


def _explained(values: np.ndarray, returns: np.ndarray) -> float:
    """Share of the returns' variance that the baseline explains; NaN where they do not vary."""
    variance = float(np.var(returns)) if returns.size else 0.0
    return float("nan") if variance == 0 else 1 - float(np.var(returns - values)) / variance
