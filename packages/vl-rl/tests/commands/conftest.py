"""Runs on disk that nobody trained."""

import json

import pytest
from vl_rl.training.settings import RunSettings


@pytest.fixture
def write_run(tmp_path):
    """Write a run below a folder of the test: its settings, a row of metrics for each step, and no more."""

    def write(out, algo="sac", seed=0, *, env="Pendulum-v1", curve=None, finished=True, **changes):
        settings = RunSettings(algo=algo, env=env, seed=seed, **changes)
        folder = tmp_path / out / settings.folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(settings.config()))
        rows = [{"step": step, "eval/return": value} for step, value in (curve or {}).items()]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if finished:
            (folder / "model.zip").touch()
        return folder

    return write
