"""The gradient that treats latents as observed, against that of the marginal likelihood of the actions."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from vl_rl.hippo.hippo import HiPPO

HORIZON = 12


class Walk(gymnasium.Env):
    """Four states in a ring; an action goes back, stays or goes on, and state 0 pays 1."""

    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._state, self._steps = int(self.np_random.integers(4)), 0
        return self._state, {}

    def step(self, action):
        self._state = (self._state + int(action) - 1) % 4
        self._steps += 1
        return self._state, float(self._state == 0), self._steps == HORIZON, False, {}


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def test_gradient_agrees_with_that_of_the_marginal_likelihood():
    model = HiPPO(
        *("HierarchicalMlpPolicy", Walk()),
        num_latents=3,
        commitment=(3, 6),
        n_steps=HORIZON * 150,
        normalize_advantage=False,
        vf_coef=0.0,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": {"manager": [16], "skills": [], "values": []}},
    )
    policy = model.policy
    with torch.no_grad():  # skills that differ: each has an action that it mostly takes
        policy.skills.head.weight.zero_()
        inputs = policy.skills.extractor.features_dim + 1
        for latent in range(3):
            policy.skills.head.weight[latent, inputs + latent] = 3.0
        policy.manager.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.train = lambda: None
    model.learn(HORIZON * 150)

    # One weight a trajectory, the same for both: its return.
    buffer = model.rollout_buffer
    returns = buffer.rewards.reshape(-1, HORIZON).sum(axis=1)
    buffer.advantages[:, 0] = buffer.manager_advantages[:, 0] = np.repeat(returns - returns.mean(), HORIZON)
    parameters = [*policy.manager.parameters(), *policy.skills.parameters()]
    approximate = 0.0
    for level, batches in (("skills", buffer.get()), ("manager", buffer.get_decisions())):
        (batch,) = batches
        loss, _ = model.level_loss(level, batch)
        approximate = approximate - loss * len(batch.latents)
    approximate = flat(torch.autograd.grad(approximate, parameters))

    exact = 0.0
    observations = torch.as_tensor(buffer.observations[:, 0])
    actions, left = torch.as_tensor(buffer.actions[:, 0, 0]), torch.as_tensor(buffer.steps_left[:, 0])
    begins = np.flatnonzero(buffer.decisions[:, 0])
    for begin, end in zip(begins, [*begins[1:], len(left)], strict=True):
        part = slice(begin, end)
        chosen = policy.latent_distribution(observations[begin : begin + 1], left[begin : begin + 1])
        of_latents = []
        for latent in range(3):
            latents = torch.full((end - begin,), latent)
            distribution = policy.skill_distribution(observations[part], latents, left[part])
            of_latents.append(chosen.logits[0, latent] + distribution.log_prob(actions[part]).sum())
        exact = exact + torch.stack(of_latents).logsumexp(0) * float(buffer.advantages[begin, 0])
    exact = flat(torch.autograd.grad(exact, parameters))

    cosine = torch.nn.functional.cosine_similarity(approximate, exact, dim=0).item()
    assert 0.94 <= cosine < 1
