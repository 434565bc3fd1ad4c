"""Policies of stable-baselines3 whose networks begin with Fourier features.

A network has one hidden layer less than by default in stable-baselines3: the features stand in its place, and about
as many numbers are trained. Vector policies give every network frequencies of its own: the actor and each Q-network of
SAC, TD3 and DDPG (whose input is the observation and the action), the Q-network of DQN, the value network of PPO and
A2C. Image policies put them at the bottom of the encoder. Policies for dict observations are vector policies behind
the extractor of stable-baselines3, so images in a dict get no features of their pixels.
"""

from vl_rl.fourier.policies._base import NETWORKS
from vl_rl.fourier.policies.dicts import (
    FourierActorCriticMultiInputPolicy,
    FourierDQNMultiInputPolicy,
    FourierSACMultiInputPolicy,
    FourierTD3MultiInputPolicy,
)
from vl_rl.fourier.policies.images import (
    FourierActorCriticCnnPolicy,
    FourierDQNCnnPolicy,
    FourierSACCnnPolicy,
    FourierTD3CnnPolicy,
)
from vl_rl.fourier.policies.vectors import (
    FourierActorCriticPolicy,
    FourierDQNPolicy,
    FourierSACPolicy,
    FourierTD3Policy,
)

__all__ = [
    "NETWORKS",
    "FourierActorCriticCnnPolicy",
    "FourierActorCriticMultiInputPolicy",
    "FourierActorCriticPolicy",
    "FourierDQNCnnPolicy",
    "FourierDQNMultiInputPolicy",
    "FourierDQNPolicy",
    "FourierSACCnnPolicy",
    "FourierSACMultiInputPolicy",
    "FourierSACPolicy",
    "FourierTD3CnnPolicy",
    "FourierTD3MultiInputPolicy",
    "FourierTD3Policy",
]
