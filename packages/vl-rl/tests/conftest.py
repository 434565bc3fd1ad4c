"""Logs of stable-baselines3 in a folder that goes away; by itself it leaves one for each model that learns."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def logs(tmp_path_factory):
    """Folder of the logs of models without a logger of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SB3_LOGDIR", str(tmp_path_factory.mktemp("sb3")))
        yield
