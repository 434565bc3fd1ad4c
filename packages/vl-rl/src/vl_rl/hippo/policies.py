"""Policies with a manager, which commits to a latent, and skills, which act on it.

Li et al., "Sub-policy Adaptation for Hierarchical Reinforcement Learning", ICLR 2020. With observation `s`, latent `z`
and commitment `p`: `z ~ π_manager(z | s, p)` once per commitment, `a ~ π_skill(a | s, steps left, z)` at each step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution, make_proba_distribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.distributions import Categorical

from .commitment import State, checked_commitment, checked_state, draw_commitments
from .level_network import Integration, LevelNetwork, SkillNetwork
from .observation_parts import Observation, ObservationPart, SliceLike, observation_part

Level: TypeAlias = Literal["manager", "skills"]


class Step(NamedTuple):
    """Choices of both levels at one step of `(B,)` environments."""

    actions: Tensor
    log_probs: Tensor
    """Log-probabilities of the actions, given the latents."""
    values: Tensor
    """The skills' baseline."""
    latents: Tensor
    steps_left: Tensor
    """Steps left of the commitment, this one included."""
    decisions: Tensor
    """True where the manager drew a latent at this step."""
    manager_log_probs: Tensor
    """Log-probabilities of the latents; 0 where there was no decision."""
    manager_values: Tensor
    """The manager's baseline; 0 where there was no decision."""


class HierarchicalActorCriticPolicy(BasePolicy):
    """A manager and skills, with a baseline for each.

    Args:
        observation_space: The environment's.
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        lr_schedule: Learning rate by remaining progress.
        num_latents: Number of skills, at least 2.
        commitment: `(T_min, T_max)`: each commitment is drawn uniformly from these and the integers between.
        manager_keys: Keys of a Dict observation that the manager sees; all by default.
        skill_keys: Keys that the skills see. Baselines always see all.
        manager_slice: The same for a vector: a slice, or its start and stop.
        skill_slice: Entries that the skills see, usually the robot's own state.
        integration: `"bilinear"` gives each latent its own weights for each feature; `"concat"` adds a one-hot code.
        latent_dependent_baseline: Let the skills' baseline see the latent.
        net_arch: Widths of the hidden layers, by network: `manager`, `skills` and `values`; what is left out keeps the
            default.
        activation_fn: Nonlinearity of the hidden layers.
        ortho_init: Orthogonal initialization.
        log_std_init: First logarithm of the standard deviation of continuous actions.
        skill_gain: Gain of the skills' last layer: skills that differ from the first step let the manager explore.
        use_sde: Not supported.
        features_extractor_class: Features of each network's part of the observation.
        features_extractor_kwargs: Its keyword arguments.
        normalize_images: Divide images by 255.
        optimizer_class: One optimizer for all networks.
        optimizer_kwargs: Its keyword arguments.

    Raises:
        ValueError: If an argument is out of its range; the message names it.

    Example:
        >>> space = spaces.Box(-1, 1, (3,), np.float32)
        >>> policy = HierarchicalActorCriticPolicy(space, space, lambda _: 1e-3, num_latents=4, commitment=(2, 5))
        >>> action, state = policy.predict(np.zeros(3, np.float32), episode_start=np.array([True]))
        >>> action.shape, 1 <= state[1][0] <= 4
        ((3,), True)
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        num_latents: int = 6,
        commitment: Sequence[int] = (5, 15),
        manager_keys: Sequence[str] | None = None,
        skill_keys: Sequence[str] | None = None,
        manager_slice: SliceLike | None = None,
        skill_slice: SliceLike | None = None,
        integration: Integration = "bilinear",
        latent_dependent_baseline: bool = True,
        net_arch: dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.Tanh,
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        skill_gain: float = 0.5,
        use_sde: bool = False,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if optimizer_kwargs is None:
            optimizer_kwargs = {"eps": 1e-5} if optimizer_class is torch.optim.Adam else {}
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class,
            features_extractor_kwargs,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        self.num_latents = checked_num_latents(num_latents)
        self.commitment = checked_commitment(commitment)
        if integration not in ("bilinear", "concat"):
            raise ValueError(f"integration must be 'bilinear' or 'concat', got {integration!r}")
        if use_sde:
            raise ValueError("use_sde must be False, got True; skills have no state-dependent noise")
        self._given = {
            "num_latents": self.num_latents,
            "commitment": self.commitment,
            "manager_keys": manager_keys,
            "skill_keys": skill_keys,
            "manager_slice": manager_slice,
            "skill_slice": skill_slice,
            "integration": integration,
            "latent_dependent_baseline": latent_dependent_baseline,
            "net_arch": net_arch,
            "activation_fn": activation_fn,
            "ortho_init": ortho_init,
            "log_std_init": log_std_init,
            "skill_gain": skill_gain,
        }
        self.frozen: frozenset[Level] = frozenset()
        self._calls_without_state = 0
        self._warned = False

        widths = {"manager": [32, 32], "skills": [64, 64], "values": [64, 64]}
        if unknown := set(net_arch or {}) - set(widths):
            raise ValueError(f"net_arch must have only the keys {sorted(widths)}, got {sorted(unknown)}")
        widths |= net_arch or {}
        whole = ObservationPart(observation_space)
        of_manager = observation_part(observation_space, level="manager", keys=manager_keys, entries=manager_slice)
        of_skills = observation_part(observation_space, level="skill", keys=skill_keys, entries=skill_slice)
        if isinstance(observation_space, spaces.Dict) and features_extractor_class is FlattenExtractor:
            raise ValueError("policy must be HierarchicalMultiInputPolicy for observations that are dictionaries")

        def network(
            kind: type[LevelNetwork],
            part: ObservationPart,
            make_head: Callable[[int], nn.Module],
            hidden: list[int],
            latents: int,
            gain: float,
        ) -> LevelNetwork:
            return kind(
                part,
                features_extractor_class(part.space, **self.features_extractor_kwargs),
                make_head,
                num_latents=latents,
                integration=integration,
                hidden=hidden,
                activation=activation_fn,
                max_commitment=self.commitment[1],
                normalize_images=normalize_images,
                gain=gain if ortho_init else None,
            )

        self.action_dist = make_proba_distribution(action_space)
        log_std: list[nn.Parameter] = []

        def action_head(width: int) -> nn.Module:
            if not isinstance(self.action_dist, DiagGaussianDistribution):
                return cast(nn.Module, self.action_dist.proba_distribution_net(latent_dim=width))
            head, std = self.action_dist.proba_distribution_net(latent_dim=width, log_std_init=log_std_init)
            log_std.append(std)
            return head

        def value_head(width: int) -> nn.Module:
            return nn.Linear(width, 1)

        self.manager = network(
            LevelNetwork, of_manager, lambda width: nn.Linear(width, num_latents), widths["manager"], 0, 0.01
        )
        self.manager_value = network(LevelNetwork, whole, value_head, widths["values"], 0, 1.0)
        self.skills = cast(
            SkillNetwork, network(SkillNetwork, of_skills, action_head, widths["skills"], num_latents, skill_gain)
        )
        self.skills.register_parameter("log_std", log_std[0] if log_std else None)
        value_latents = num_latents if latent_dependent_baseline else 0
        self.skill_value = network(LevelNetwork, whole, value_head, widths["values"], value_latents, 1.0)
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            **self._given,
            "lr_schedule": self._dummy_schedule,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
        }

    # ---- Acting ----

    def forward(self, observation: Observation, latents: Tensor, steps_left: Tensor, episode_starts: Tensor) -> Step:
        """Act for one step of training: a new latent where an episode starts or no step is left, then an action.

        Args:
            observation: A batch of `B` observations.
            latents: `(B,)` int64, the latents of the step before.
            steps_left: `(B,)` int64, the steps that are left for them.
            episode_starts: `(B,)` bool.
        """
        latents, steps_left, decisions = self._commit(observation, latents, steps_left, episode_starts)
        manager_values, manager_log_probs = torch.zeros(2, len(latents), device=latents.device)
        if decisions.any():
            values, log_probs, _ = self.evaluate_manager(observation, latents, steps_left)
            manager_values, manager_log_probs = values * decisions, log_probs * decisions
        distribution = self.skill_distribution(observation, latents, steps_left)
        actions = distribution.get_actions()
        return Step(
            actions.reshape((-1, *cast(tuple[int, ...], self.action_space.shape))),
            distribution.log_prob(actions),
            self.skill_value(observation, steps_left, latents).flatten(),
            latents,
            steps_left,
            decisions,
            manager_log_probs,
            manager_values,
        )

    def _commit(
        self,
        observation: Observation,
        latents: Tensor,
        steps_left: Tensor,
        episode_starts: Tensor,
        deterministic: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw commitments and latents where they are due; give latents, steps left and where that was."""
        decisions = episode_starts | (steps_left <= 0)
        if decisions.any():
            drawn = draw_commitments(len(latents), self.commitment, deterministic=deterministic).to(latents.device)
            steps_left = torch.where(decisions, drawn, steps_left)
            chosen = self.latent_distribution(observation, steps_left)
            new = chosen.probs.argmax(dim=1) if deterministic else chosen.sample()  # type: ignore[no-untyped-call]
            latents = torch.where(decisions, new, latents)
        return latents, steps_left, decisions

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: State | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State]:
        """Act, and give the latents and the steps left for the next call.

        Args:
            observation: One observation or a batch of them.
            state: What the last call returned, or None at the first step of all environments.
            episode_start: `(n_envs,)` bool; where True, that environment alone gets a fresh latent.
            deterministic: Take the manager's likeliest latent, the mean action, and the middle commitment
                `(T_min + T_max) // 2`.

        Returns:
            Actions, clipped to the action space, and the state: latents and steps left, each `(n_envs,)` int64.

        Raises:
            ValueError: If the observation is not finite, or the state is for other environments.
        """
        self.set_training_mode(False)
        _check_observation(observation)
        inputs, vectorized = self.obs_to_tensor(observation)
        n_envs = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
        self._warn_without_state(state, episode_start)
        latents, steps_left = (part.to(self.device) for part in checked_state(state, n_envs, self.num_latents))
        starts = np.zeros(n_envs, dtype=bool) if episode_start is None else np.asarray(episode_start, dtype=bool)
        with torch.no_grad():
            starts_tensor = torch.as_tensor(np.broadcast_to(starts, (n_envs,)).copy(), device=self.device)
            latents, steps_left, _ = self._commit(inputs, latents, steps_left, starts_tensor, deterministic)
            chosen = self.skill_distribution(inputs, latents, steps_left).get_actions(deterministic=deterministic)
        actions = chosen.cpu().numpy().reshape((-1, *cast(tuple[int, ...], self.action_space.shape)))
        if isinstance(self.action_space, spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        carried = (latents.cpu().numpy(), steps_left.cpu().numpy() - 1)
        return (actions if vectorized else actions.squeeze(axis=0)), carried

    def _predict(self, observation: Observation, deterministic: bool = False) -> Tensor:
        """Act with a fresh latent everywhere."""
        n_envs = len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
        none = torch.zeros(n_envs, dtype=torch.int64, device=self.device)
        latents, steps_left, _ = self._commit(observation, none, none, none == 0, deterministic)
        return self.skill_distribution(observation, latents, steps_left).get_actions(deterministic=deterministic)

    def _warn_without_state(self, state: State | None, episode_start: NDArray[Any] | None) -> None:
        """Warn once if a state is missing where an episode goes on: no commitment would outlast a step."""
        unknown = state is None and episode_start is None
        self._calls_without_state = self._calls_without_state + 1 if unknown else 0
        goes_on = state is None and episode_start is not None and not np.all(episode_start)
        if (goes_on or self._calls_without_state > 1) and not self._warned:
            self._warned = True
            warnings.warn(
                "predict was called in mid-episode with state=None, so the manager draws a latent at each step; "
                "pass the state that the last call returned: action, state = model.predict(obs, state, episode_start)",
                UserWarning,
                stacklevel=4,
            )

    # ---- Distributions and values ----

    def latent_distribution(self, observation: Observation, steps_left: Tensor) -> Categorical:
        """Distribution of the manager's latents `(B, num_latents)` for commitments of `steps_left` steps."""
        return Categorical(logits=self.manager(observation, steps_left), validate_args=False)

    def skill_distribution(self, observation: Observation, latents: Tensor, steps_left: Tensor) -> Distribution:
        """Distribution of the actions, given the latents."""
        parameters = self.skills(observation, steps_left, latents)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            assert self.skills.log_std is not None
            return self.action_dist.proba_distribution(parameters, self.skills.log_std)
        return self.action_dist.proba_distribution(action_logits=parameters)

    def evaluate_manager(
        self, observation: Observation, latents: Tensor, steps_left: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values, log-probabilities of the latents, and entropies of their distributions; each `(B,)`."""
        distribution = self.latent_distribution(observation, steps_left)
        values = self.manager_value(observation, steps_left).flatten()
        return values, distribution.log_prob(latents), distribution.entropy()  # type: ignore[no-untyped-call]

    def evaluate_skills(
        self, observation: Observation, actions: Tensor, latents: Tensor, steps_left: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values, log-probabilities of the actions, and entropies of their distributions; each `(B,)`."""
        distribution = self.skill_distribution(observation, latents, steps_left)
        values = self.skill_value(observation, steps_left, latents).flatten()
        entropy = distribution.entropy()
        assert entropy is not None
        return values, distribution.log_prob(actions), entropy

    def continuation_values(self, observation: Observation, latents: Tensor, steps_left: Tensor) -> Tensor:
        """Values of going on from an observation; `(B,)`.

        Where steps are left, the skills' baseline for the latent; where a decision is due, the manager's baseline for
        a commitment of average length.
        """
        average = torch.full_like(steps_left, sum(self.commitment), dtype=torch.float32) / 2
        due = self.manager_value(observation, average).flatten()
        return torch.where(steps_left > 0, self.skill_value(observation, steps_left, latents).flatten(), due)

    # ---- Freezing ----

    def level_parameters(self, level: Level) -> list[nn.Parameter]:
        """Parameters of a level with its baseline."""
        own, value = (self.manager, self.manager_value) if level == "manager" else (self.skills, self.skill_value)
        return [*own.parameters(), *value.parameters()]

    def set_frozen(self, levels: frozenset[Level]) -> None:
        """Let only the other levels learn; baselines always learn.

        A frozen level has no gradients, so neither the optimizer's momentum nor weight decay moves it.
        """
        self.frozen = levels
        for level, network in (("manager", self.manager), ("skills", self.skills)):
            network.requires_grad_(level not in levels)
        self.optimizer.zero_grad(set_to_none=True)

    def set_training_mode(self, mode: bool) -> None:
        """Switch dropout and the like; frozen levels stay as in evaluation."""
        super().set_training_mode(mode)
        for level in self.frozen:
            (self.manager if level == "manager" else self.skills).train(False)


class HierarchicalMultiInputPolicy(HierarchicalActorCriticPolicy):
    """The same for Dict observations: images through a CNN each, everything else flattened."""

    def __init__(
        self,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = CombinedExtractor,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class HierarchicalCnnPolicy(HierarchicalActorCriticPolicy):
    """The same for images, whose features are those of stable-baselines3's `NatureCNN` by default."""

    def __init__(
        self, *args: Any, features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN, **kwargs: Any
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


def checked_num_latents(num_latents: int) -> int:
    """Give the number of latents if there is something to choose from.

    Raises:
        ValueError: If it is not an integer of at least 2.
    """
    if isinstance(num_latents, bool) or not isinstance(num_latents, int | np.integer) or num_latents < 2:
        raise ValueError(
            f"num_latents must be an integer >= 2, got {num_latents!r}; "
            "with one latent there is nothing to choose, so use stable_baselines3.PPO"
        )
    return int(num_latents)


def _check_observation(observation: Any) -> None:
    """Refuse a tuple, NaN and infinity as input of `predict`, which may be one observation or one of each environment.

    Raises:
        ValueError: Naming what came.
    """
    if isinstance(observation, tuple):
        raise ValueError("observation must be an array or a dict, got a tuple; pass `obs` of `obs, info = env.reset()`")
    for key, part in observation.items() if isinstance(observation, dict) else [("", observation)]:
        array = np.asarray(part)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            where = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(
                f"observation{f'[{key!r}]' if key else ''} must be finite, got {array[where]} at index {where} of "
                f"shape {array.shape}; mend the environment, or find the step with stable_baselines3's VecCheckNan"
            )
