"""A learning rate for each part of a model, where stable-baselines3 has one for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from stable_baselines3.common.utils import FloatSchedule
from torch import nn, optim

LearningRate: TypeAlias = float | Callable[[float], float]
"""A constant, or a function of the remaining progress, which falls from 1 to 0."""

ROLES = ("actor", "critic", "alpha", "fourier")
"""Parts that a group of parameters may belong to; the key ``role`` of the group in its optimizer."""


def split_group(optimizer: optim.Optimizer, parameters: Iterable[nn.Parameter], **settings: Any) -> None:
    """Move parameters of an optimizer that has taken no step yet into a group of their own.

    Args:
        optimizer: The optimizer, with one group.
        parameters: Parameters to move; those that the optimizer does not have are ignored.
        settings: Settings of the new group, such as ``weight_decay``.
    """
    wanted = set(map(id, parameters))
    (group,) = optimizer.param_groups
    moved = [parameter for parameter in group["params"] if id(parameter) in wanted]
    if moved:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in wanted]
        optimizer.add_param_group({"params": moved, **settings})


class SeparateLearningRates:
    """Mixin of an algorithm of stable-baselines3: learning rates of the actor, the critic, the entropy coefficient, B.

    It stands before the algorithm among the bases. Each rate is a number or a schedule, is logged as
    ``train/actor_lr`` and so on, and is kept by ``save`` and ``load``. Off-policy algorithms have an optimizer for each
    part. On-policy ones have a single optimizer, whose parameters are divided by the networks that they belong to;
    what both use, such as a shared encoder, follows ``learning_rate``.

    Args:
        actor_lr: Learning rate of the actor; None for ``learning_rate``.
        critic_lr: Learning rate of the critic; for DQN, that of the Q-network.
        alpha_lr: Learning rate of the entropy coefficient of SAC.
        fourier_lr: Learning rate of the frequencies B of `vl_rl.fourier.FourierFeatures`.

    Raises:
        ValueError: If a rate is not positive.
        TypeError: If a rate is neither a number nor a schedule.
    """

    def __init__(
        self,
        *args: Any,
        actor_lr: LearningRate | None = None,
        critic_lr: LearningRate | None = None,
        alpha_lr: LearningRate | None = None,
        fourier_lr: LearningRate | None = None,
        **kwargs: Any,
    ) -> None:
        given = {"actor_lr": actor_lr, "critic_lr": critic_lr, "alpha_lr": alpha_lr, "fourier_lr": fourier_lr}
        for name, rate in given.items():
            _check_rate(name, rate)
            setattr(self, name, rate)
        # Builds the model, unless it is being loaded.
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()  # type: ignore[misc]
        policy = self.policy  # type: ignore[attr-defined]
        for role, owner in (("actor", getattr(policy, "actor", None)), ("critic", getattr(policy, "critic", None))):
            if owner is not None:
                _tag(owner.optimizer, role)
        if getattr(self, "ent_coef_optimizer", None) is not None:
            _tag(self.ent_coef_optimizer, "alpha")  # type: ignore[attr-defined]
        if hasattr(policy, "q_net"):
            _tag(policy.optimizer, "critic")
        elif hasattr(policy, "mlp_extractor"):
            _tag_on_policy(policy)

    def _update_learning_rate(self, optimizers: list[optim.Optimizer] | optim.Optimizer) -> None:
        super()._update_learning_rate(optimizers)  # type: ignore[misc]
        progress = self._current_progress_remaining  # type: ignore[attr-defined]
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                rate = getattr(self, f"{group.get('role')}_lr", None)
                if rate is not None:
                    group["lr"] = FloatSchedule(rate)(max(progress, 0.0))
                if "role" in group:
                    self.logger.record(f"train/{group['role']}_lr", group["lr"])  # type: ignore[attr-defined]


def _check_rate(name: str, rate: LearningRate | None) -> None:
    if rate is None or callable(rate):
        return
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise TypeError(f"{name} must be a number, a schedule or None, got {type(rate).__name__}")
    if not 0 < rate < float("inf"):
        raise ValueError(f"{name} must be above 0, got {rate}; pass None for learning_rate")


def _tag(optimizer: optim.Optimizer, role: str) -> None:
    for group in optimizer.param_groups:
        group.setdefault("role", role)


def _tag_on_policy(policy: Any) -> None:
    """Divide the optimizer of an actor-critic policy between its networks."""
    optimizer = policy.optimizer
    actor = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
    actor += [parameter for parameter in [getattr(policy, "log_std", None)] if isinstance(parameter, nn.Parameter)]
    critic = [*policy.mlp_extractor.value_net.parameters(), *policy.value_net.parameters()]
    if not policy.share_features_extractor:
        actor += policy.pi_features_extractor.parameters()
        critic += policy.vf_features_extractor.parameters()
    for role, parameters in (("actor", actor), ("critic", critic)):
        first, *others = optimizer.param_groups
        optimizer.param_groups = [first]
        split_group(optimizer, parameters, role=role)
        optimizer.param_groups += others
    optimizer.param_groups = [group for group in optimizer.param_groups if group["params"]]
