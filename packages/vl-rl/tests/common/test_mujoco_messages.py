"""MuJoCo's warnings reach Python's logging, and no file is left behind."""

import logging
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import mujoco
import pytest
from vl_rl import HiPPO
from vl_rl.common.mujoco_messages import route_mujoco_messages


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and MuJoCo's warnings as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(None)
    yield tmp_path
    mujoco.set_mju_user_warning(before)


def become_unstable() -> None:
    """Simulate what MuJoCo warns of."""
    body = "<body><freejoint/><geom size='.1'/></body>"
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{body}</worldbody></mujoco>")
    data = mujoco.MjData(model)
    data.qvel[:] = float("nan")
    mujoco.mj_step(model, data)


def test_half_cheetah_says_nothing_and_leaves_no_file(folder: Path, capfd, caplog) -> None:
    route_mujoco_messages()
    gymnasium.make("HalfCheetah-v5").close()
    assert [*folder.iterdir()] == []
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_algorithm_that_makes_the_environment_says_nothing_either(folder: Path, capfd) -> None:
    HiPPO("HierarchicalMlpPolicy", "HalfCheetah-v5", n_steps=8)
    assert [*folder.iterdir()] == []
    assert capfd.readouterr() == ("", "")


def test_an_unstable_simulation_is_logged_as_a_warning(folder: Path, caplog) -> None:
    route_mujoco_messages()
    become_unstable()
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "vl_rl.mujoco")
    assert "unstable" in record.getMessage()
    assert [*folder.iterdir()] == []


def test_a_function_of_the_users_own_stays() -> None:
    own: list[str] = []
    mujoco.set_mju_user_warning(own.append)
    route_mujoco_messages()
    become_unstable()
    assert len(own) == 1
