"""A learning rate for each part of a model, where stable-baselines3 has one for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from stable_baselines3.common.utils import FloatSchedule
from torch import nn, optim

LearningRate: TypeAlias = float | Callable[[float], float]
"""A constant, or a function of the remaining progress, which falls from 1 to 0."""

ROLES = ("actor", "critic", "alpha", "fourier")
"""Parts that a group of parameters may belong to; the key ``role`` of the group in its optimizer. Its key ``network``
is the actor or the critic that a group of another role belongs to."""

_PARTS = {
    "actor": "an actor",
    "critic": "a critic",
    "alpha": "a trained entropy coefficient",
    "fourier": "trained frequencies",
}


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
    what both use, such as a shared encoder, follows ``learning_rate``. Rates are checked whenever a model is built,
    also by ``load``.

    Args:
        actor_lr: Learning rate of the actor; None for ``learning_rate``.
        critic_lr: Learning rate of the critic; for DQN, that of the Q-network.
        alpha_lr: Learning rate of the entropy coefficient of SAC.
        fourier_lr: Learning rate of the frequencies B of `vl_rl.fourier.FourierFeatures`; None for that of the network
            that they belong to.

    Raises:
        ValueError: If a rate is not positive, or the model has no part that would follow it.
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
        self.actor_lr, self.critic_lr, self.alpha_lr, self.fourier_lr = actor_lr, critic_lr, alpha_lr, fourier_lr
        # Builds the model, unless it is being loaded.
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        for role in ROLES:
            _check_rate(f"{role}_lr", getattr(self, f"{role}_lr"))
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
        self._check_roles()

    def _check_roles(self) -> None:
        """Refuse rates that no parameter would follow."""
        policy = self.policy  # type: ignore[attr-defined]
        owners = (policy, getattr(policy, "actor", None), getattr(policy, "critic", None))
        optimizers = [getattr(owner, "optimizer", None) for owner in owners]
        optimizers.append(getattr(self, "ent_coef_optimizer", None))
        roles = {group.get("role") for optimizer in optimizers if optimizer for group in optimizer.param_groups}
        for role, part in _PARTS.items():
            rate = getattr(self, f"{role}_lr")
            if rate is not None and role not in roles:
                raise ValueError(f"{role}_lr must be None for a model without {part}, got {rate}; leave it out")

    def _update_learning_rate(self, optimizers: list[optim.Optimizer] | optim.Optimizer) -> None:
        super()._update_learning_rate(optimizers)  # type: ignore[misc]
        progress = self._current_progress_remaining  # type: ignore[attr-defined]
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                role, network = group.get("role"), group.get("network")
                rates = [getattr(self, f"{name}_lr", None) for name in (role, network)]
                rate = next((rate for rate in rates if rate is not None), None)
                if rate is not None:
                    group["lr"] = FloatSchedule(rate)(max(progress, 0.0))
                # Frequencies of several networks may have several rates, which are those of their networks.
                if role is not None and (role != "fourier" or rates[0] is not None):
                    self.logger.record(f"train/{role}_lr", group["lr"])  # type: ignore[attr-defined]


def _check_rate(name: str, rate: LearningRate | None) -> None:
    if rate is None or callable(rate):
        return
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise TypeError(f"{name} must be a number, a schedule or None, got {type(rate).__name__}")
    if not 0 < rate < float("inf"):
        raise ValueError(f"{name} must be above 0, got {rate}; pass None for learning_rate")


def _tag(optimizer: optim.Optimizer, network: str) -> None:
    for group in optimizer.param_groups:
        group.setdefault("role", network)
        group["network"] = network


def _tag_on_policy(policy: Any) -> None:
    """Divide the optimizer of an actor-critic policy between its networks."""
    optimizer = policy.optimizer
    actor = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
    actor += [parameter for parameter in [getattr(policy, "log_std", None)] if isinstance(parameter, nn.Parameter)]
    critic = [*policy.mlp_extractor.value_net.parameters(), *policy.value_net.parameters()]
    if not policy.share_features_extractor:
        actor += policy.pi_features_extractor.parameters()
        critic += policy.vf_features_extractor.parameters()
    networks = dict.fromkeys(map(id, actor), "actor") | dict.fromkeys(map(id, critic), "critic")
    groups = []
    for group in optimizer.param_groups:
        # What both use has no network.
        for network in (None, "actor", "critic"):
            parameters = [parameter for parameter in group["params"] if networks.get(id(parameter)) == network]
            if parameters:
                tags = {} if network is None else {"role": network, "network": network}
                groups.append({**tags, **group, "params": parameters})
    optimizer.param_groups = groups
