"""Repairs of other packages act where their cause is, and nowhere else."""

import sys
from types import ModuleType, SimpleNamespace

import gymnasium
import mujoco
import numpy as np
import pytest
from vl_rl.common.simulators import find_environments, repair_dm_control, repair_gymnasium_robotics


def module(monkeypatch, name, **content):
    """Put a module of that name, and the packages above it, where imports find them."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        made = ModuleType(".".join(parts[:depth]))
        made.__path__ = []
        monkeypatch.setitem(sys.modules, made.__name__, made)
        if depth > 1:
            setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], made)
    vars(made).update(content)
    return made


def test_only_arrays_that_mujoco_has_not_are_removed(monkeypatch):
    sizes = {"mjmodel": {"body_mass": ("nbody",), "no_such_array": ("nbody",)}, "mjdata": {"qpos": ("nq",)}}
    module(monkeypatch, "dm_control.mujoco.wrapper.mjbindings", sizes=SimpleNamespace(array_sizes=sizes))
    assert repair_dm_control() == ["no_such_array"]
    assert sizes == {"mjmodel": {"body_mass": ("nbody",)}, "mjdata": {"qpos": ("nq",)}}
    assert repair_dm_control() == []


def test_kinds_of_joints_are_numbers_where_members_are_not(monkeypatch):
    utils = module(monkeypatch, "gymnasium_robotics.utils.mujoco_utils", mujoco=mujoco)
    hinge = mujoco.mjtJoint.mjJNT_HINGE
    needed = np.int32(int(hinge)) not in (hinge,)
    assert repair_gymnasium_robotics() is needed
    assert np.int32(int(hinge)) in (utils.mujoco.mjtJoint.mjJNT_HINGE,)
    assert utils.mujoco.MjModel is mujoco.MjModel
    assert repair_gymnasium_robotics() is False


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("vl_rl.common.simulators.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"dm_control is not installed; it comes with .*vl-rl\[dm-control\]"):
        find_environments("dm_control/cheetah-run-v0")
    before = set(gymnasium.registry)
    find_environments("FetchReach-v4")
    find_environments("Pendulum-v1")
    assert set(gymnasium.registry) == before
