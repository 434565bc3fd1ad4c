"""Acting with a state: fresh latents, other numbers of environments, parts of the observation, saving."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces
from vl_rl.hippo.policies import HierarchicalActorCriticPolicy, HierarchicalMultiInputPolicy

BOX = spaces.Box(-1, 1, (5,), np.float32)


def make(observation=BOX, action=BOX, kind=HierarchicalActorCriticPolicy, **kwargs):
    torch.manual_seed(0)
    return kind(observation, action, lambda _: 1e-3, **{"commitment": (3, 6), **kwargs})


def observations(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 5)).astype(np.float32)


def test_state_counts_down_and_keeps_the_latent():
    policy = make()
    starts = np.ones(16, dtype=bool)
    actions, (latents, left) = policy.predict(observations(16), None, starts)
    assert actions.shape == (16, 5)
    assert set(left) <= {2, 3, 4, 5}
    _, (later, fewer) = policy.predict(observations(16), (latents, left), ~starts)
    np.testing.assert_array_equal(fewer, left - 1)
    np.testing.assert_array_equal(later, latents)


def test_one_policy_serves_any_number_of_environments():
    policy = make()
    for count in (16, 5):
        _, (latents, _) = policy.predict(observations(count), None, np.ones(count, dtype=bool))
        assert latents.shape == (count,)
    action, (latents, _) = policy.predict(observations(1)[0], None, np.array([True]))
    assert (action.shape, latents.shape) == ((5,), (1,))


def test_episode_start_draws_a_fresh_latent_for_that_environment_alone():
    policy = make(num_latents=50)
    state = (np.zeros(5, dtype=np.int64), np.full(5, 4))
    starts = np.array([False, False, True, False, False])
    fresh = set()
    for _ in range(5):
        _, (latents, left) = policy.predict(observations(5), state, starts)
        np.testing.assert_array_equal(latents[~starts], 0)
        np.testing.assert_array_equal(left[~starts], 3)
        fresh.add(int(latents[2]))
    assert len(fresh) > 1


def test_a_deterministic_prediction_takes_the_likeliest_latent_for_the_middle_commitment():
    policy = make()
    (first, state), (second, _) = (policy.predict(observations(4), None, np.ones(4), True) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(state[1], 3)
    chosen = policy.latent_distribution(torch.as_tensor(observations(4)), torch.full((4,), 4))
    np.testing.assert_array_equal(state[0], chosen.probs.argmax(1))


@pytest.mark.parametrize("starts", [None, np.array([False, True])], ids=["plain loop", "says that it goes on"])
def test_a_missing_state_in_mid_episode_warns_once(starts):
    policy = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            policy.predict(observations(2), None, starts)
    assert [str(warning.message)[:38] for warning in caught] == ["predict was called in mid-episode with"]


def test_episodes_that_begin_without_a_state_do_not_warn():
    policy = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            _, state = policy.predict(observations(2))
            policy.predict(observations(2), state)
            policy.predict(observations(2), None, np.ones(2, dtype=bool))
    assert caught == []


# ---- Parts of the observation ----


def test_skills_see_only_their_keys(parts):
    policy = make(parts, kind=HierarchicalMultiInputPolicy, skill_keys=["robot"], manager_keys=["goal"])
    state = (np.array([1]), np.array([4]))
    robot = np.full((1, 3), 0.5, np.float32)
    acts = [
        policy.predict({"robot": robot, "goal": np.full((1, 2), goal, np.float32)}, state, np.zeros(1), True)[0]
        for goal in (-1, 1)
    ]
    np.testing.assert_array_equal(*acts)
    moved = policy.predict({"robot": -robot, "goal": np.ones((1, 2), np.float32)}, state, np.zeros(1), True)[0]
    assert not np.array_equal(moved, acts[0])


def test_levels_see_only_their_slices():
    policy = make(skill_slice=(0, 2), manager_slice=slice(2, 5))
    state = (np.array([1]), np.array([4]))
    seen, other = observations(2)[:, None]
    mixed = np.concatenate([seen[:, :2], other[:, 2:]], axis=1)
    acts = [policy.predict(given, state, np.zeros(1), True)[0] for given in (seen, mixed, other)]
    np.testing.assert_array_equal(acts[0], acts[1])
    assert not np.array_equal(acts[0], acts[2])
    left = torch.tensor([4])
    logits = [policy.latent_distribution(torch.as_tensor(given), left).logits for given in (seen, mixed, other)]
    assert torch.equal(logits[1], logits[2])
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("latent_dependent", [True, False])
def test_the_baseline_of_the_skills_sees_the_latent_if_asked(latent_dependent):
    policy = make(latent_dependent_baseline=latent_dependent)
    seen, left = torch.as_tensor(observations(1)), torch.tensor([2])
    first, second = (policy.skill_value(seen, left, torch.tensor([latent])) for latent in (0, 1))
    assert (first != second).item() == latent_dependent


@pytest.mark.parametrize("integration", ["bilinear", "concat"])
@pytest.mark.parametrize(
    "action",
    [BOX, spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)],
    ids=lambda s: type(s).__name__,
)
def test_actions_of_every_kind_are_in_their_space(integration, action):
    policy = make(action=action, integration=integration)
    actions, _ = policy.predict(observations(7), None, np.ones(7, dtype=bool))
    assert all(action.contains(one) for one in actions)


def test_a_saved_policy_acts_alike(tmp_path):
    policy = make(skill_slice=(0, 2), integration="concat", net_arch={"skills": [8]})
    policy.save(str(tmp_path / "policy.pt"))
    loaded = HierarchicalActorCriticPolicy.load(str(tmp_path / "policy.pt"))
    acts = [one.predict(observations(3), None, np.ones(3), True)[0] for one in (policy, loaded)]
    np.testing.assert_array_equal(*acts)


REFUSALS = {
    "one latent": ({"num_latents": 1}, "num_latents must be an integer >= 2, got 1; "),
    "half a latent": ({"num_latents": 2.5}, "num_latents must be an integer >= 2, got 2.5"),
    "order": ({"commitment": (9, 3)}, "commitment must have T_min <= T_max, got T_min = 9 and T_max = 3; use"),
    "zero": ({"commitment": (0, 3)}, "commitment must have T_min >= 1, got T_min = 0"),
    "a number": ({"commitment": 5}, "commitment must be two integers"),
    "integration": ({"integration": "sum"}, "integration must be 'bilinear' or 'concat', got 'sum'"),
    "keys of a vector": ({"skill_keys": ["robot"]}, "skill_keys needs a Dict observation space"),
    "no entries": ({"manager_slice": slice(3, 3)}, "manager_slice must leave some of the 5 entries"),
    "entries that do not stand side by side": ({"skill_slice": [0, 1, 3]}, "skill_slice must be a slice, or its start"),
    "entries beyond the end": (
        {"skill_slice": (0, 500)},
        "skill_slice must be a slice, or its start and stop within 0",
    ),
    "one entry": ({"skill_slice": 2}, "skill_slice must be a slice, or its start and stop within 0..5, got 2"),
    "a dictionary for vectors": (
        {"observation": spaces.Dict({"robot": spaces.Box(-1, 1, (5,), np.float32)})},
        "policy must be HierarchicalMultiInputPolicy for observations that are dictionaries",
    ),
    "networks": ({"net_arch": {"pi": [4]}}, "net_arch must have only the keys"),
    "noise": ({"use_sde": True}, "use_sde must be False"),
    "unknown key": (
        {"observation": spaces.Dict({"robot": BOX}), "manager_keys": ["goal"]},
        "manager_keys must be a list with some of the keys",
    ),
    "slice of a dictionary": (
        {"observation": spaces.Dict({"robot": BOX}), "skill_slice": (0, 2)},
        "skill_slice needs a Box observation space with one dimension",
    ),
}


@pytest.mark.parametrize(("given", "message"), REFUSALS.values(), ids=REFUSALS)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=f"^{message.replace('(', '[(]')}"):
        make(**given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.full((2, 5), np.nan, np.float32),), "observation must be finite, got nan at index"),
        (((observations(2), {}),), "observation must be an array or a dict, got a tuple"),
        ((observations(2), (np.zeros(3, int), np.zeros(3, int))), "state must hold latents and steps left of shape"),
        ((observations(2), (np.array([0, 9]), np.ones(2, int))), "state must hold latents from 0 to 5"),
    ],
    ids=["nan", "tuple", "other environments", "unknown latent"],
)
def test_wrong_inputs_of_predict_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make().predict(*arguments)
