"""The algorithm in the shape of stable-baselines3's suites: run, save, resume, spaces, freezing, refusals."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
import vl_rl.common.mujoco_messages
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from vl_rl.hippo.hippo import HiPPO

SMALL = {"n_steps": 32, "batch_size": 16, "n_epochs": 2, "commitment": (2, 4), "seed": 0, "device": "cpu"}


def vector(make, count=2):
    return DummyVecEnv([make] * count)


def model_of(make, count=2, policy="HierarchicalMlpPolicy", **kwargs):
    return HiPPO(policy, vector(make, count), **{**SMALL, **kwargs})


def weights(model, prefix=""):
    return {key: value.clone() for key, value in model.policy.state_dict().items() if key.startswith(prefix)}


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    "action",
    [spaces.Box(-2, 2, (2,), np.float32), spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)],
    ids=lambda space: type(space).__name__,
)
def test_learns_with_actions_of_every_kind(line, action):
    model = model_of(lambda: line(action=action), target_kl=0.1, ent_coef=0.01, manager_ent_coef=0.01)
    before = weights(model)
    model.learn(128)
    for level in ("skills.", "manager.", "skill_value.", "manager_value."):
        assert not same({key: value for key, value in before.items() if key.startswith(level)}, weights(model, level))


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)], ids=str)
def test_learns_from_observations_that_are_no_vectors(line, space):
    model = model_of(lambda: line(observation=space))
    before = weights(model)
    assert not same(before, weights(model.learn(64)))


def test_learns_from_dictionaries(line, parts):
    model = model_of(
        *(lambda: line(observation=parts), 3, "HierarchicalMultiInputPolicy"),
        policy_kwargs={"skill_keys": ["robot"], "manager_keys": ["robot", "goal"]},
    )
    assert model.learn(192).rollout_buffer.observations["goal"].shape == (32, 3, 2)


def test_one_seed_gives_one_result(line):
    first, second = (weights(model_of(line).learn(128)) for _ in range(2))
    assert same(first, second)


def test_runs_under_running_normalization(line):
    env = VecNormalize(vector(line))
    assert HiPPO("HierarchicalMlpPolicy", env, **SMALL).learn(128).num_timesteps == 128
    assert env.obs_rms.count > 128


def test_a_loaded_model_predicts_alike_without_an_environment_and_resumes(line, tmp_path):
    model = model_of(line, num_latents=3, frozen=["manager"]).learn(128)
    model.save(tmp_path / "model.zip")
    seen = model.get_env().reset()
    loaded = HiPPO.load(tmp_path / "model.zip", device="cpu")
    starts = np.ones(2, dtype=bool)
    acts = [one.predict(seen, None, starts, deterministic=True) for one in (model, loaded)]
    np.testing.assert_array_equal(acts[0][0], acts[1][0])
    assert (loaded.num_latents, loaded.commitment, loaded.frozen) == (3, (2, 4), {"manager"})
    resumed = HiPPO.load(tmp_path / "model.zip", env=vector(line, 5), device="cpu")  # another number of environments
    assert resumed.learn(160, reset_num_timesteps=False).num_timesteps == 288


def test_trained_on_16_environments_it_evaluates_on_5(line):
    model = model_of(line, 16).learn(512)
    mean, _ = evaluate_policy(model, vector(line, 5), n_eval_episodes=10, warn=False)
    assert np.isfinite(mean)


def test_images_have_a_policy_of_their_own(line):
    image = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    model = model_of(lambda: line(observation=image), policy="HierarchicalCnnPolicy", n_steps=4, batch_size=4)
    assert model.learn(8).num_timesteps == 8


# ---- Freezing ----


@pytest.mark.parametrize(
    ("optimizer", "options"), [(torch.optim.Adam, {"weight_decay": 0.1}), (torch.optim.AdamW, {"weight_decay": 0.1})]
)
def test_frozen_skills_keep_every_bit_until_they_are_unfrozen(line, optimizer, options):
    model = model_of(line, policy_kwargs={"optimizer_class": optimizer, "optimizer_kwargs": options})
    model.learn(64)  # the optimizer has momentum for the skills by now
    before = weights(model)
    model.freeze("skills")
    model.learn(128)
    assert same(weights(model, "skills."), before)
    assert not same(weights(model, "manager."), before)
    assert not same(weights(model, "skill_value."), before)
    model.unfreeze("skills")
    model.learn(64)
    assert not same(weights(model, "skills."), before)


def test_frozen_skills_load_under_another_manager(line, tmp_path):
    def whole():
        return line(observation=spaces.Box(-1, 1, (7,), np.float32))

    source = model_of(line, policy_kwargs={"skill_slice": (0, 3)}).learn(64)
    source.save(tmp_path / "source.zip")
    for given in (source, tmp_path / "source.zip"):
        model = model_of(whole, commitment=(5, 9), frozen="skills", policy_kwargs={"skill_slice": (0, 3)})
        with pytest.warns(UserWarning, match="learned with commitments of at most"):
            model.load_skills(given)
        model.learn(128)
        assert same(weights(model, "skills."), weights(source))
    other = model_of(whole)
    before = weights(other)
    with pytest.raises(ValueError, match=r"^source must hold skills with the shapes of this model, but "):
        other.load_skills(source)
    assert same(weights(other), before)


# ---- Refusals ----


class Masked(gymnasium.Wrapper):
    """An environment that offers masks of its actions."""

    def action_masks(self):
        return np.ones(2, dtype=bool)


class Broken(gymnasium.Wrapper):
    """An environment that gives something else than a finite number after fifty steps."""

    def __init__(self, env, part):
        super().__init__(env)
        self.part, self.steps = part, 0

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.steps += 1
        if self.steps > 50:
            observation, reward = (
                (observation * np.nan, reward) if self.part == "observation" else (observation, np.inf)
            )
        return observation, reward, *rest


def test_an_environment_with_action_masks_is_refused(line):
    with pytest.raises(ValueError, match=r"^env must not have action_masks, which HiPPO would ignore; use sb3_contrib"):
        model_of(lambda: Masked(line()))
    with pytest.raises(ValueError, match=r"^env must not have action_masks"):
        model_of(line).set_env(vector(lambda: Masked(line())))


@pytest.mark.parametrize(("part", "message"), [("observation", "got .*nan"), ("reward", "got inf")])
def test_what_is_not_finite_stops_training_and_leaves_the_model_whole(line, part, message, tmp_path):
    model = model_of(lambda: Broken(line(), part))
    with pytest.raises(ValueError, match=rf"^{part} of environment 0 must be finite, {message}.* after \d+ steps"):
        model.learn(1000)
    assert all(torch.isfinite(value).all() for value in weights(model).values())
    model.save(tmp_path / "model.zip")
    assert same(weights(HiPPO.load(tmp_path / "model.zip", device="cpu")), weights(model))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_latents": 1}, "num_latents must be an integer >= 2, got 1"),
        ({"commitment": (6, 2)}, "commitment must have T_min <= T_max, got T_min = 6 and T_max = 2"),
        ({"frozen": ["skill"]}, "frozen must be 'skills', 'manager' or both, got 'skill'"),
        ({"n_epochs": 0}, "n_epochs must be a whole number from 1, got 0"),
        ({"manager_batch_size": -3}, "manager_batch_size must be a whole number from 1, got -3"),
        ({"batch_size": None}, "batch_size must be a whole number from 1, got None"),
    ],
    ids=lambda part: str(part),
)
def test_wrong_arguments_are_named(line, given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        model_of(line, **given)


# ---- Learning ----


class Delayed(gymnasium.Env):
    """Pays 1 for each action near the sign that the observation shows."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._sign, self._left = self.np_random.choice([-1.0, 1.0]), 10
        return np.array([self._sign], np.float32), {}

    def step(self, action):
        self._left -= 1
        reward = 1 - abs(float(action[0]) - self._sign)
        return np.array([self._sign], np.float32), reward, False, not self._left, {}


def test_a_manager_learns_which_skill_to_take_where_skills_are_blind():
    # The skills see a constant; only the manager's choice can tell the two signs apart.
    class Blind(gymnasium.ObservationWrapper):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)

        def observation(self, observation):
            return np.array([observation[0], 0], np.float32)

    model = model_of(
        *(lambda: Blind(Delayed()), 8),
        num_latents=2,
        n_steps=40,
        batch_size=64,
        manager_batch_size=32,
        n_epochs=5,
        learning_rate=5e-3,
        policy_kwargs={"skill_slice": (1, 2)},
    ).learn(6_000)
    mean, _ = evaluate_policy(model, vector(lambda: Blind(Delayed())), n_eval_episodes=20, warn=False)
    assert mean > 5  # without telling them apart, no policy has more than 0 on average


@pytest.mark.slow
def test_half_cheetah_needs_nothing_else():
    vl_rl.common.mujoco_messages.route_mujoco_messages()
    model = HiPPO("HierarchicalMlpPolicy", "HalfCheetah-v5").learn(10_000)
    assert model.num_timesteps >= 10_000
