"""Hyper-parameters of rl-zoo3's form: what is read, what text stands for, and what is refused."""

import pytest
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.sac import CnnPolicy
from torch import nn
from vl_rl import FourierFeatures, FourierSAC
from vl_rl.zoo.algorithms import ALGORITHMS, check_actions, default_algorithms
from vl_rl.zoo.hyperparameters import read_zoo_file, resolve
from vl_rl.zoo.literals import parse_text

FILE = """
Pendulum-v1: &defaults
  n_timesteps: !!float 2e4
  n_envs: 2
  policy: 'MlpPolicy'
  learning_rate: lin_1e-3
  gamma: 1e-2
  train_freq: [1, "episode"]
  normalize: "{'norm_obs': True, 'norm_reward': False}"
  noise_type: 'normal'
  noise_std: 0.2
  env_wrapper:
    - gymnasium.wrappers.TimeLimit:
        max_episode_steps: 7
  policy_kwargs: "dict(log_std_init=-3, net_arch=[2 * 32, 64], activation_fn=nn.Tanh, optimizer_class=th.optim.Adam)"
default:
  <<: *defaults
  n_envs: 3
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "sac.yml"
    file.write_text(FILE)
    return file


def test_an_entry_is_read_and_every_name_resolved(path):
    found = resolve(read_zoo_file(path, "Pendulum-v1"), SAC, str(path))
    schedule = found.arguments.pop("learning_rate")
    assert isinstance(schedule, LinearSchedule)
    assert (schedule(1.0), schedule(0.5), schedule(0.0)) == (1e-3, 5e-4, 0.0)
    kwargs = found.arguments.pop("policy_kwargs")
    assert kwargs.pop("optimizer_class").__name__ == "Adam"
    assert kwargs == {"log_std_init": -3, "net_arch": [64, 64], "activation_fn": nn.Tanh}
    assert found.arguments == {"policy": "MlpPolicy", "gamma": 0.01, "train_freq": (1, "episode")}
    assert (found.n_envs, found.noise) == (2, ("normal", 0.2))
    assert found.normalize == {"gamma": 0.01, "norm_obs": True, "norm_reward": False}
    assert len(found.wrappers) == 1


def test_other_environments_take_the_default(path):
    assert read_zoo_file(path, "Hopper-v5")["n_envs"] == 3
    path.write_text("Pendulum-v1: {n_envs: 1}")
    with pytest.raises(ValueError, match=r"sac.yml has no entry for Hopper-v5, and no default; it has Pendulum-v1"):
        read_zoo_file(path, "Hopper-v5")


def test_dotted_names_resolve_in_text_and_in_mappings():
    raw = {
        "policy": "stable_baselines3.sac.CnnPolicy",
        "policy_kwargs": {"features_extractor_class": "vl_rl.FourierFeatures"},
        "fourier_lr": "1e-4",
    }
    found = resolve(raw, FourierSAC, "x.yml").arguments
    assert found["policy"] is CnnPolicy
    assert found["policy_kwargs"] == {"features_extractor_class": FourierFeatures}
    assert found["fourier_lr"] == 1e-4


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("policy", "vl_rl.NoSuchPolicy", r"x.yml: policy must name .* got 'vl_rl.NoSuchPolicy'"),
        ("policy", "MlpPolice", "x.yml: policy must be one of MlpPolicy"),
        (
            "policy_kwargs",
            {"features_extractor_class": "no_such.Module"},
            "x.yml: policy_kwargs has a wrong features",
        ),
        ("policy_kwargs", "dict(activation_fn=nn.ReLUU)", r"x.yml: policy_kwargs must name .* got 'nn.ReLUU'"),
        ("policy_kwargs", "__import__('os').system('true')", "x.yml: policy_kwargs must be literals"),
        ("policy_kwargs", "dict(x=open('file'))", "x.yml: policy_kwargs must be literals"),
        ("policy_kwargs", "[x for x in (1,)]", "x.yml: policy_kwargs must be literals"),
        ("policy_kwargs", "dict(", "x.yml: policy_kwargs must be literals"),
        ("gama", 0.9, r"x.yml: gama is no hyper-parameter of PPO .* did you mean gamma\?"),
        ("seed", 0, "x.yml: seed is no hyper-parameter"),
        ("learning_rate", "exp_3", "x.yml: learning_rate must be a number or lin_ and a number, got 'exp_3'"),
        ("n_envs", 0.5, "x.yml: n_envs must be a whole number from 1, got 0.5"),
        ("batch_size", 64.5, "x.yml: batch_size must be a whole number, got 64.5"),
        ("learning_rate", "lin_-1e-3", "x.yml: learning_rate must not be negative, got '-1e-3'"),
        ("normalize", "dict(norm_ob=True)", "x.yml: normalize has no argument norm_ob; those of VecNormalize are"),
        ("frame_stack", 0, "x.yml: frame_stack must be a whole number from 1, got 0"),
        ("normalize", 3, "x.yml: normalize must be true, false or arguments"),
        ("noise_type", "pink", "x.yml: noise_type must be normal or ornstein-uhlenbeck"),
        ("env_wrapper", "no.such.Wrapper", "x.yml: env_wrapper must name"),
    ],
)
def test_a_wrong_value_names_file_and_key(key, value, message):
    with pytest.raises(ValueError, match=message):
        resolve({key: value}, PPO, "x.yml")


def test_whole_numbers_may_be_written_as_real_ones():
    found = resolve({"buffer_size": "1e6", "batch_size": 64.0, "n_envs": 2.0}, SAC, "x.yml")
    assert repr(found.arguments) == "{'buffer_size': 1000000, 'batch_size': 64}"


def test_one_file_serves_an_algorithm_with_fourier_features_and_without(path):
    raw = read_zoo_file(path, "Pendulum-v1")
    policies = [ALGORITHMS[name].with_own_policy(raw)["policy"] for name in ("sac", "fourier-sac", "hippo")]
    assert policies == ["MlpPolicy", "FourierMlpPolicy", "HierarchicalMlpPolicy"]
    own = {"policy": "stable_baselines3.sac.MlpPolicy"}
    assert ALGORITHMS["fourier-sac"].with_own_policy(own) == own


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (spaces.Box(-1, 1, (1,)), "sac"),
        (spaces.Discrete(2), "dqn"),
        (spaces.MultiDiscrete([2, 3]), "ppo"),
        (spaces.MultiBinary(2), "ppo"),
    ],
)
def test_algorithms_by_default_take_the_actions(actions, expected):
    assert default_algorithms(actions) == (f"fourier-{expected}", expected)
    for name in default_algorithms(actions):
        check_actions(name, actions, "env")


def test_actions_and_observations_that_nothing_takes_are_refused():
    with pytest.raises(ValueError, match=r"^algo must take the MultiBinary actions of x, got dqn; take ppo or a2c"):
        check_actions("dqn", spaces.MultiBinary(2), "x")
    with pytest.raises(ValueError, match=r"^observations must be of a space that policies take, got Tuple"):
        ALGORITHMS["ppo"].policy_for(spaces.Tuple([spaces.Discrete(2)]))


def test_arithmetic_is_of_numbers_only():
    assert parse_text("-2 * 3.5 + 1") == -6.0
    with pytest.raises(ValueError, match="calculate with numbers only"):
        parse_text("'a' * 3")


@pytest.mark.parametrize(("text", "message"), [("[1", "is not YAML"), ("- 1", "must map ids")])
def test_files_of_another_form_are_refused(tmp_path, text, message):
    (tmp_path / "x.yml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_zoo_file(tmp_path / "x.yml", "Pendulum-v1")
