"""Policies in every algorithm: they train, save, load and repeat; who trains what, and at which rate."""

import copy
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.utils import polyak_update
from vl_rl.fourier import FourierA2C, FourierDDPG, FourierDQN, FourierFeatures, FourierPPO, FourierSAC, FourierTD3
from vl_rl.fourier.policies import FourierActorCriticPolicy, FourierSACPolicy

OFF_POLICY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 200}
CASES = {
    FourierSAC: ("Pendulum-v1", OFF_POLICY),
    FourierTD3: ("Pendulum-v1", OFF_POLICY),
    FourierDDPG: ("Pendulum-v1", OFF_POLICY),
    FourierDQN: ("CartPole-v1", OFF_POLICY | {"train_freq": 1, "target_update_interval": 10}),
    FourierPPO: ("CartPole-v1", {"n_steps": 16, "batch_size": 8, "n_epochs": 2}),
    FourierA2C: ("Pendulum-v1", {"n_steps": 8}),
}
SMALL = {"fourier_dim": 8, "net_arch": [16]}
each = pytest.mark.parametrize("algorithm", CASES, ids=lambda kind: kind.__name__)


class DictEnv(gym.ObservationWrapper):
    """Pendulum with its observation in two parts."""

    def __init__(self):
        super().__init__(gym.make("Pendulum-v1"))
        low, high = self.env.observation_space.low, self.env.observation_space.high
        parts = {"angle": spaces.Box(low[:2], high[:2]), "speed": spaces.Box(low[2:], high[2:])}
        self.observation_space = spaces.Dict(parts)

    def observation(self, observation):
        return {"angle": observation[:2], "speed": observation[2:]}


def make(algorithm, *, policy="FourierMlpPolicy", env=None, policy_kwargs=None, **settings):
    name, own = CASES[algorithm]
    # Copied, since stable-baselines3 adds to it.
    kwargs = dict(SMALL if policy_kwargs is None else policy_kwargs)
    return algorithm(policy, name if env is None else env, seed=0, policy_kwargs=kwargs, **(own | settings))


def parts(model):
    return {name: part for name, part in model.policy.named_modules() if isinstance(part, FourierFeatures)}


def weights(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@each
def test_a_seed_repeats_a_run_and_a_saved_model_goes_on(algorithm, tmp_path):
    rates = {"fourier_lr": 1e-4, "critic_lr": lambda progress: 1e-3 * progress}
    first, second = (make(algorithm, **rates).learn(60) for _ in range(2))
    assert same(weights(first), weights(second))
    first.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", env=gym.make(CASES[algorithm][0]))
    assert same(weights(first), weights(loaded))
    assert loaded.fourier_lr == 1e-4
    observation = first.observation_space.sample()
    expected = first.predict(observation, deterministic=True)[0]
    assert np.array_equal(loaded.predict(observation, deterministic=True)[0], expected)
    assert np.array_equal(algorithm.load(tmp_path / "model.zip").predict(observation, deterministic=True)[0], expected)
    loaded.learn(30)
    assert not same(weights(first), weights(loaded))
    first.set_parameters(loaded.get_parameters())
    assert same(weights(first), weights(loaded))


def test_each_network_has_its_own_frequencies():
    sac = parts(make(FourierSAC))
    assert set(sac) == {"actor.latent_pi.0", *(f"critic{t}.qf{i}.0" for t in ("", "_target") for i in (0, 1))}
    assert sac["actor.latent_pi.0"].in_features == 3
    assert sac["critic.qf0.0"].in_features == 4
    assert not torch.equal(sac["critic.qf0.0"].B, sac["critic.qf1.0"].B)
    assert set(parts(make(FourierDQN))) == {"q_net.q_net.0", "q_net_target.q_net.0"}
    assert set(parts(make(FourierPPO))) == {"mlp_extractor.value_net.0"}
    both = make(FourierPPO, policy_kwargs=SMALL | {"networks": ("actor", "critic")})
    assert set(parts(both)) == {"mlp_extractor.value_net.0", "mlp_extractor.policy_net.0"}


@pytest.mark.parametrize("algorithm", [FourierSAC, FourierTD3, FourierDQN, FourierPPO])
@pytest.mark.parametrize("image", [False, True], ids=["vectors", "images"])
def test_frozen_frequencies_do_not_move_and_others_do(algorithm, image):
    for trainable in (False, True):
        options = {"trainable": trainable, "fourier_weight_decay": 0.1, "fourier_dim": 4}
        if image:
            discrete = algorithm in (FourierDQN, FourierPPO)
            env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=discrete)
            options |= {"features_extractor_kwargs": {"features_dim": 8}}
            model = make(algorithm, policy="FourierCnnPolicy", env=env, policy_kwargs=options)
        else:
            model = make(algorithm, policy_kwargs=options)
        before = {name: part.B.detach().clone() for name, part in parts(model).items()}
        assert before
        model.learn(40)
        moved = {name for name, part in parts(model).items() if not torch.equal(part.B, before[name])}
        trained = {name for name in before if "target" not in name}
        assert moved & trained == (trained if trainable else set())


@pytest.mark.parametrize("algorithm", [FourierSAC, FourierTD3])
def test_only_the_critics_loss_reaches_a_shared_encoder(algorithm):
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=False)
    options = {"fourier_dim": 4, "features_extractor_kwargs": {"features_dim": 8}}
    policy = make(algorithm, policy="FourierCnnPolicy", env=env, policy_kwargs=options).policy
    encoder = list(policy.critic.features_extractor.parameters())
    images = torch.randint(0, 256, (4, 1, 36, 36), dtype=torch.uint8)
    assert policy.actor.features_extractor is policy.critic.features_extractor
    assert not set(map(id, policy.actor.parameters())) & set(map(id, encoder))
    actions = policy.actor(images)
    torch.cat(policy.critic(images, actions), 1).sum().backward()
    assert all(parameter.grad is None for parameter in encoder)
    assert any(parameter.grad is not None for parameter in policy.actor.parameters())
    torch.cat(policy.critic(images, actions.detach()), 1).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder)
    owned = [parameter for group in policy.critic.optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in encoder} <= {id(parameter) for parameter in owned}


def test_separate_encoders_are_those_of_stable_baselines3():
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=False)
    options = {"fourier_dim": 4, "share_features_extractor": False, "features_extractor_kwargs": {"features_dim": 8}}
    model = make(FourierSAC, policy="FourierCnnPolicy", env=env, policy_kwargs=options).learn(30)
    assert model.actor.features_extractor is not model.critic.features_extractor
    assert "actor.features_extractor.fourier.B" in model.policy.state_dict()


def test_every_part_has_its_learning_rate_and_logs_it():
    rates = {"actor_lr": 1e-3, "critic_lr": 2e-3, "alpha_lr": 3e-3, "fourier_lr": lambda progress: 4e-3 * progress}
    model = make(FourierSAC, **rates)
    model.learn(100)
    found = {group["role"]: group["lr"] for group in model.critic.optimizer.param_groups}
    assert found["critic"] == 2e-3
    assert 0 <= found["fourier"] < 1e-4
    assert model.ent_coef_optimizer.param_groups[0]["lr"] == 3e-3
    logged = model.logger.name_to_value
    assert {"train/actor_lr", "train/critic_lr", "train/alpha_lr", "train/fourier_lr"} <= set(logged)
    ppo = make(FourierPPO, actor_lr=1e-3, learning_rate=5e-4)
    ppo.learn(16)
    groups = {group["role"]: group for group in ppo.policy.optimizer.param_groups}
    assert {role: group["lr"] for role, group in groups.items()} == {"actor": 1e-3, "critic": 5e-4, "fourier": 5e-4}
    count = sum(len(group["params"]) for group in groups.values())
    assert count == len(list(ppo.policy.parameters()))


def test_frequencies_follow_the_rate_of_their_network():
    rates = {"actor_lr": 1e-5, "critic_lr": 2e-5}
    sac = make(FourierSAC, **rates).learn(30)
    ppo = make(FourierPPO, policy_kwargs=SMALL | {"networks": ("actor", "critic")}, **rates).learn(16)
    for model, optimizers in (
        (sac, (sac.actor.optimizer, sac.critic.optimizer)),
        (ppo, (ppo.policy.optimizer, ppo.policy.optimizer)),
    ):
        for (name, rate), optimizer in zip(rates.items(), optimizers, strict=True):
            groups = [group for group in optimizer.param_groups if f"{group['network']}_lr" == name]
            assert {group["role"]: group["lr"] for group in groups} == {name.removesuffix("_lr"): rate, "fourier": rate}
        assert "train/fourier_lr" not in model.logger.name_to_value


def test_a_rate_given_to_load_is_checked(tmp_path):
    make(FourierSAC).save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"actor_lr must be above 0, got -5\.0"):
        FourierSAC.load(tmp_path / "model.zip", actor_lr=-5.0)


def test_weight_decay_of_the_frequencies_is_their_own():
    model = make(FourierSAC, policy_kwargs=SMALL | {"fourier_weight_decay": 0.5})
    decays = {group["role"]: group["weight_decay"] for group in model.critic.optimizer.param_groups}
    assert decays == {"critic": 0, "fourier": 0.5}


@each
def test_automatic_scale_is_measured_from_enough_observations_and_kept(algorithm, tmp_path):
    options = SMALL | {"sigma": "auto"}
    model = make(algorithm, policy_kwargs=options).learn(40)
    assert not model.scaled
    model.learn(80, reset_num_timesteps=False)
    assert model.scaled
    assert all(100 <= part.measured <= 120 for part in parts(model).values())
    scales = {name: part.scale.clone() for name, part in parts(model).items()}
    assert all(not torch.equal(scale, torch.ones_like(scale)) for scale in scales.values())
    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", env=gym.make(CASES[algorithm][0])).learn(20)
    assert loaded.scaled
    assert all(torch.equal(part.scale, scales[name]) for name, part in parts(loaded).items())
    other = make(algorithm, policy_kwargs=options)
    other.set_parameters(tmp_path / "model.zip")
    other.learn(40)
    assert all(torch.equal(part.scale, scales[name]) for name, part in parts(other).items())


def test_rollouts_are_put_together_until_there_are_enough_observations():
    rows = []
    model = make(FourierA2C, policy="FourierMultiInputPolicy", env=DictEnv(), policy_kwargs=SMALL | {"sigma": "auto"})

    class Rows(BaseCallback):
        def _on_step(self):
            rows.append(torch.cat([part.clone() for part in self.locals["obs_tensor"].values()], 1))
            return True

    model.learn(128, callback=Rows())
    (part,) = parts(model).values()
    assert part.measured == 104
    torch.testing.assert_close(part.scale, 1 / torch.cat(rows)[:104].std(dim=0))


@pytest.mark.parametrize("image", [False, True], ids=["vectors", "images"])
@pytest.mark.parametrize("algorithm", [FourierSAC, FourierTD3, FourierDQN, FourierPPO])
def test_a_policy_and_its_networks_save_and_load_by_themselves(algorithm, image, tmp_path):
    discrete = algorithm in (FourierDQN, FourierPPO)
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=discrete)
    for sharing in ({}, {"share_features_extractor": False}) if image and algorithm is not FourierDQN else ({},):
        options = {"fourier_dim": 4, "features_extractor_kwargs": {"features_dim": 8}} if image else SMALL
        model = make(
            algorithm,
            policy="FourierCnnPolicy" if image else "FourierMlpPolicy",
            env=env if image else None,
            policy_kwargs={**options, **sharing},
        )
        observation = model.policy.obs_to_tensor(model.observation_space.sample())[0]
        for name in ("actor", "q_net"):
            if hasattr(model.policy, name):
                part = getattr(model.policy, name)
                part.save(tmp_path / "part.pt")
                loaded = type(part).load(tmp_path / "part.pt")
                assert torch.equal(loaded._predict(observation, True), part._predict(observation, True))
        model.policy.save(tmp_path / "policy.pt")
        loaded = type(model.policy).load(tmp_path / "policy.pt")
        assert torch.equal(loaded._predict(observation, True), model.policy._predict(observation, True))


IMAGES = {"fourier_dim": 4, "features_extractor_kwargs": {"features_dim": 8}}
SEPARATE = IMAGES | {"share_features_extractor": False}


class KeptLog(Logger):
    """Log that is not cleared."""

    def dump(self, step=0):
        pass


@pytest.mark.parametrize(
    ("algorithm", "options", "names"),
    [
        (FourierSAC, SMALL, {"actor", "qf0", "qf1"}),
        (FourierDQN, SMALL, {"q_net"}),
        (FourierPPO, SMALL | {"networks": ("actor", "critic")}, {"actor", "critic"}),
        *((kind, IMAGES, {"encoder"}) for kind in (FourierSAC, FourierDQN, FourierPPO)),
        *((kind, SEPARATE, {"actor", "critic"}) for kind in (FourierSAC, FourierPPO)),
    ],
)
@pytest.mark.parametrize("compiled", ["policy", "part", None])
def test_each_network_is_logged_by_its_name(algorithm, options, names, compiled):
    image = "features_extractor_kwargs" in options
    env = FakeImageEnv(screen_height=36, screen_width=36, n_channels=1, discrete=algorithm is not FourierSAC)
    policy, env = ("FourierCnnPolicy", env) if image else ("FourierMlpPolicy", None)
    model = make(algorithm, policy=policy, env=env, policy_kwargs=options)
    model.set_logger(KeptLog(None, []))
    model._setup_learn(1)
    trained = [part for name, part in parts(model).items() if "target" not in name]
    for number, part in enumerate(trained):
        part.B.data.fill_(number)
    if compiled == "policy":
        model.policy = torch.compile(model.policy)
    elif compiled == "part":
        for name in list(parts(model)):
            owner = model.policy.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], torch.compile(owner.get_submodule(name.rpartition(".")[2])))
    model.dump_logs()
    logged = model.logger.name_to_value.items()
    found = {name.removeprefix("fourier/"): value for name, value in logged if name.startswith("fourier/")}
    assert set(found) == {f"{name}_{what}" for name in names for what in ("norm", "frequency")}
    norms = sorted(value for name, value in found.items() if name.endswith("norm"))
    assert norms == sorted(float(part.B.detach().norm()) for part in trained)


def test_images_that_need_no_division_are_taken():
    class Scaled(gym.ObservationWrapper):
        def observation(self, observation):
            return np.float32(observation / 255)

    env = Scaled(FakeImageEnv(screen_height=40, screen_width=40, n_channels=3, discrete=False, channel_first=True))
    env.observation_space = spaces.Box(0, 1, (3, 40, 40), np.float32)
    model = make(FourierSAC, policy="FourierCnnPolicy", env=env, policy_kwargs=IMAGES | {"normalize_images": False})
    before = weights(model)
    model.learn(30)
    assert not same(weights(model), before)
    image = torch.rand(1, 3, 40, 40)
    torch.testing.assert_close(model.policy.obs_to_tensor(image.numpy())[0], image)


@pytest.mark.slow
def test_the_scale_is_measured_in_compiled_networks():
    model = make(FourierSAC, policy_kwargs=SMALL | {"sigma": "auto"}, learning_starts=100)
    model.policy.actor.latent_pi = torch.compile(model.policy.actor.latent_pi, backend="eager")
    # A graph for as many rows as are measured.
    with torch.no_grad():
        model.policy.actor(torch.zeros(1000, 3))
    model.learn(102)
    assert all(part.measured >= 100 for part in parts(model).values())


@each
def test_dict_observations_and_several_environments(algorithm):
    from stable_baselines3.common.env_util import make_vec_env

    if CASES[algorithm][0] == "Pendulum-v1":
        model = make(algorithm, policy="FourierMultiInputPolicy", env=DictEnv()).learn(40)
        assert next(iter(parts(model).values())).in_features in (3, 4)
    model = make(algorithm, env=make_vec_env(CASES[algorithm][0], n_envs=2, seed=0)).learn(64)
    assert "train/learning_rate" in model.logger.name_to_value


def test_policies_work_with_the_algorithms_of_stable_baselines3():
    sac = SAC(FourierSACPolicy, "Pendulum-v1", policy_kwargs=dict(SMALL), **OFF_POLICY)
    ppo = PPO(FourierActorCriticPolicy, "CartPole-v1", policy_kwargs=dict(SMALL), n_steps=16, batch_size=8)
    for model in (sac, ppo):
        before = {name: part.B.detach().clone() for name, part in parts(model).items()}
        model.learn(40)
        assert all(not torch.equal(part.B, before[name]) for name, part in parts(model).items())


def test_orthogonal_initialization_keeps_sigma():
    model = make(FourierPPO, policy_kwargs={"fourier_dim": 4096, "net_arch": [8], "sigma": 0.01, "ortho_init": True})
    (part,) = parts(model).values()
    assert float(part.B.detach().std()) == pytest.approx(0.01, rel=0.05)


def test_target_networks_follow_the_frequencies():
    model = make(FourierSAC).learn(60)
    target = copy.deepcopy(model.critic_target)
    polyak_update(model.critic.parameters(), target.parameters(), 1.0)
    assert torch.equal(target.qf0[0].B, model.critic.qf0[0].B)


@pytest.mark.slow
def test_a_compiled_model_is_saved_with_plain_names_and_loads_uncompiled(tmp_path):
    model = make(FourierSAC)
    model.policy.actor.latent_pi = torch.compile(model.policy.actor.latent_pi)
    model.learn(30)
    model.save(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive, archive.open("policy.pth") as file:
        names = torch.load(file, weights_only=True)
    assert not [name for name in names if "_orig_mod" in name]
    loaded = FourierSAC.load(tmp_path / "model.zip", env=gym.make("Pendulum-v1"))
    observation = model.observation_space.sample()
    model.set_parameters(loaded.get_parameters())
    assert np.allclose(
        loaded.predict(observation, deterministic=True)[0], model.predict(observation, deterministic=True)[0]
    )


class Broken(gym.Wrapper):
    """Pendulum whose observation or reward is NaN after some steps."""

    def __init__(self, what, after):
        super().__init__(gym.make("Pendulum-v1"))
        self.what, self.left = what, after

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.left -= 1
        if self.left <= 0 and self.what == "observation":
            observation = observation * np.nan
        return observation, np.nan if self.left <= 0 and self.what == "reward" else reward, *rest


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("algorithm", [FourierSAC, FourierA2C])
def test_values_that_are_not_finite_stop_training_before_they_reach_the_weights(algorithm, what):
    model = make(algorithm, env=Broken(what, 30))
    with pytest.raises(ValueError, match=rf"{what} of environment 0 must be finite, got .*nan.* after 30 steps"):
        model.learn(60)
    assert all(value.isfinite().all() for value in weights(model).values())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"policy_kwargs": {"sigma": -1.0}}, ValueError, "sigma must be above 0"),
        ({"policy_kwargs": {"fourier_dim": 5}}, ValueError, "fourier_dim must be an even whole number"),
        ({"policy_kwargs": {"net_arch": []}}, ValueError, "net_arch must have at least one hidden layer"),
        ({"policy_kwargs": {"networks": ("value",)}}, ValueError, "networks must be some of actor, critic"),
        ({"policy_kwargs": {"fourier_weight_decay": -1}}, ValueError, "fourier_weight_decay must be at least 0"),
        ({"policy_kwargs": {"sigma": [0.1] * 3}}, ValueError, "one for each of the 4 inputs of the network, got 3"),
        ({"actor_lr": 0.0}, ValueError, "actor_lr must be above 0, got 0.0; pass None for learning_rate"),
        ({"fourier_lr": "fast"}, TypeError, "fourier_lr must be a number, a schedule or None, got str"),
        ({"alpha_lr": 0.1, "ent_coef": 0.2}, ValueError, "alpha_lr .* without a trained entropy coefficient, got 0.1"),
        ({"fourier_lr": 0.1, "policy_kwargs": {"trainable": False}}, ValueError, "fourier_lr .* trained frequencies"),
        ({"env": FakeImageEnv(discrete=False)}, ValueError, ".* must be vectors .* use FourierCnnPolicy"),
        ({"env": DictEnv()}, ValueError, ".* got a Dict of angle, speed; use FourierMultiInputPolicy"),
        ({"policy": "FourierMultiInputPolicy"}, ValueError, ".* must be a Dict .* got Box .* use FourierMlpPolicy"),
        ({"policy": "FourierCnnPolicy", "env": DictEnv()}, ValueError, ".* use FourierMultiInputPolicy"),
        ({"policy": "FourierCnnPolicy", "policy_kwargs": {"features_extractor_class": NatureCNN}}, ValueError,
         "features_extractor_class must take fourier_dim, .* got NatureCNN; use CnnPolicy"),
        ({"policy": "FourierCnnPolicy"}, ValueError, "observation_space must be images .* use FourierMlpPolicy"),
    ],
)  # fmt: skip
def test_refused(settings, error, message):
    with pytest.raises(error, match=message):
        make(FourierSAC, **settings)


@pytest.mark.parametrize(("name", "part"), [("actor_lr", "an actor"), ("alpha_lr", "a trained entropy coefficient")])
def test_rates_of_parts_that_dqn_has_not_are_refused(name, part):
    with pytest.raises(ValueError, match=f"{name} must be None for a model without {part}, got 0.1; leave it out"):
        make(FourierDQN, **{name: 0.1})
