"""Saved runs are read as they were trained."""

from vl_rl.training.run import train_run
from vl_rl.training.saved_runs import find_runs
from vl_rl.training.settings import RunSettings


def test_a_model_is_loaded_with_the_statistics_of_its_observations(tmp_path):
    small = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "normalize": True}
    settings = RunSettings(algo="ppo", env="CartPole-v1", hyperparameters=small, total_timesteps=32, eval_episodes=1)
    result = train_run(settings, tmp_path / settings.folder)
    assert (tmp_path / settings.folder / "normalization.npz").exists()
    model, env = find_runs([tmp_path])[0].load()
    env.seed(0)
    observation = env.reset()
    assert env.obs_rms.count > 32
    assert abs(observation - env.get_original_obs()).max() > 0.1
    assert model.predict(observation)[0].shape == (1,)
    assert len(result["returns"]) == 1
