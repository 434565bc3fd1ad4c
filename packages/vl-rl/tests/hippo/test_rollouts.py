"""Contents of the buffer: every reward, the log-probabilities of collection, commitments across rollouts, ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from vl_rl.hippo.hippo import HiPPO
from vl_rl.hippo.rollout_buffer import two_level_advantages


class Rollouts(BaseCallback):
    """Keep copies of the buffer's arrays after each rollout."""

    def __init__(self):
        super().__init__()
        self.found = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        names = ("rewards", "latents", "steps_left", "decisions", "bootstraps", "episode_starts")
        self.found.append({name: getattr(self.model.rollout_buffer, name).copy() for name in names})

    def joined(self, name):
        return np.concatenate([rollout[name] for rollout in self.found])


def play(line, *, steps, n_envs=4, n_steps=50, **kwargs):
    """Play without learning; give the environments, the model and the rollouts."""
    envs = [line() for _ in range(n_envs)]
    vector = DummyVecEnv([lambda env=env: env for env in envs])
    model = HiPPO("HierarchicalMlpPolicy", vector, n_steps=n_steps, seed=0, device="cpu", **kwargs)
    model.train = lambda: None
    rollouts = Rollouts()
    model.learn(steps, callback=rollouts)
    return envs, model, rollouts


def check_sums(envs, rollouts):
    np.testing.assert_allclose(rollouts.joined("rewards").astype(np.float64).sum(), sum(env.total for env in envs))
    assert min(sum(env.ends[kind] for env in envs) for kind in range(3)) > 0


def test_no_reward_is_lost(line):
    envs, _, rollouts = play(line, steps=1_600)
    check_sums(envs, rollouts)


@pytest.mark.slow
def test_no_reward_is_lost_in_a_hundred_thousand_steps(line):
    envs, model, rollouts = play(line, steps=100_000, n_envs=20, n_steps=100)
    assert model.num_timesteps == 100_000
    check_sums(envs, rollouts)


def test_commitments_count_down_across_rollouts_and_begin_with_episodes(line):
    _, _, rollouts = play(line, steps=800, commitment=(3, 7), n_steps=10)
    latents, left = rollouts.joined("latents"), rollouts.joined("steps_left")
    decisions, starts = rollouts.joined("decisions"), rollouts.joined("episode_starts") > 0
    before = np.concatenate([np.ones((1, 4)), left[:-1]])
    np.testing.assert_array_equal(decisions, starts | (before == 1))
    held = ~decisions[1:]
    assert (latents[1:] == latents[:-1])[held].all()
    assert (left[1:] == left[:-1] - 1)[held].all()
    assert sorted(set(left[decisions])) == [3, 4, 5, 6, 7]
    assert not decisions[10::10].all()  # commitments do go on at the border of a rollout


def test_only_truncation_bootstraps_with_the_value_of_going_on(line, monkeypatch):
    calls = []

    def constant(policy, observation, latents, steps_left):
        calls.append(len(latents))
        return torch.full((len(latents),), 7.0)

    monkeypatch.setattr("vl_rl.hippo.policies.HierarchicalActorCriticPolicy.continuation_values", constant)
    envs, _, rollouts = play(line, steps=1_600)
    bootstraps = rollouts.joined("bootstraps")
    assert set(np.unique(bootstraps)) == {0.0, 7.0}
    # Terminated and truncated in one step counts as terminated.
    assert (bootstraps == 7).sum() == sum(env.ends[1] for env in envs) == calls.count(1)


@pytest.mark.parametrize("action", [spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3)], ids=["box", "discrete"])
def test_log_probabilities_of_the_buffer_are_those_of_collection(line, action):
    _, model, _ = play(lambda: line(action=action), steps=1_000, n_steps=250)
    for level, batches in (
        ("skills", model.rollout_buffer.get(64)),
        ("manager", model.rollout_buffer.get_decisions(64)),
    ):
        for batch in batches:
            if level == "manager":
                outcome = model.policy.evaluate_manager(batch.observations, batch.latents, batch.steps_left)
            else:
                actions = batch.actions if isinstance(action, spaces.Box) else batch.actions.long().flatten()
                outcome = model.policy.evaluate_skills(batch.observations, actions, batch.latents, batch.steps_left)
            torch.testing.assert_close(outcome[1], batch.old_log_probs, rtol=1e-6, atol=1e-6)


def test_batches_hold_every_step_once_and_every_decision_once(line):
    _, model, _ = play(line, steps=1_000, n_steps=250)
    buffer = model.rollout_buffer
    assert sum(len(batch.latents) for batch in buffer.get(64)) == 1_000
    assert sum(len(batch.latents) for batch in buffer.get_decisions(7)) == buffer.decisions.sum()


# ---- Advantages ----


def random_rollout(rng, steps=60, n_envs=3):
    values, rewards, bootstraps = rng.normal(size=(3, steps, n_envs)).astype(np.float32)
    ends = rng.random((steps, n_envs)) < 0.1
    decisions = rng.random((steps, n_envs)) < 0.3
    decisions[0] = True
    decisions[1:] |= ends[:-1]
    return values, decisions, rewards, ends, bootstraps * ends, rng.normal(size=n_envs).astype(np.float32)


def by_definition(values, decisions, rewards, ends, bootstraps, last_values, gamma, gae_lambda):
    """The sum over decisions, forward in time, one environment after the other."""
    found = np.zeros_like(rewards)
    for env in range(rewards.shape[1]):
        segments = []  # begin, reward, duration, value after, whether the next decision belongs to the episode
        for begin in np.flatnonzero(decisions[:, env]):
            total, t = 0.0, begin
            while True:
                total += gamma ** (t - begin) * rewards[t, env]
                last = t == len(rewards) - 1
                if ends[t, env] or last or decisions[t + 1, env]:
                    break
                t += 1
            after = bootstraps[t, env] if ends[t, env] else last_values[env] if last else values[t + 1, env]
            segments.append((begin, total, t + 1 - begin, after, not (ends[t, env] or last)))
        for number, (begin, *_) in enumerate(segments):
            weight = 1.0
            for at, total, duration, after, goes_on in segments[number:]:
                delta = total + gamma**duration * after - values[at, env]
                found[begin, env] += weight * delta
                weight *= gamma**duration * gae_lambda
                if not goes_on:
                    break
    return found


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_advantages_are_the_sums_of_the_definition(gae_lambda):
    rollout = random_rollout(np.random.default_rng(0))
    expected = by_definition(*rollout, 0.97, gae_lambda)
    np.testing.assert_allclose(two_level_advantages(*rollout, 0.97, gae_lambda), expected, atol=1e-4)


def test_advantages_with_a_decision_at_each_step_are_those_of_stable_baselines3():
    values, _, rewards, ends, _, last = random_rollout(np.random.default_rng(1))
    box = spaces.Box(-1, 1, (1,), np.float32)
    theirs = RolloutBuffer(60, box, box, device="cpu", gamma=0.97, gae_lambda=0.9, n_envs=3)
    theirs.rewards, theirs.values = rewards, values
    theirs.episode_starts[1:] = ends[:-1]
    theirs.compute_returns_and_advantage(torch.as_tensor(last), ends[-1])
    everywhere, none = np.ones_like(ends), np.zeros_like(rewards)
    mine = two_level_advantages(values, everywhere, rewards, ends, none, last, 0.97, 0.9)
    np.testing.assert_allclose(mine, theirs.advantages, atol=1e-5)
