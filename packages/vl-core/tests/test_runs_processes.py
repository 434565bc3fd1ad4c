"""A process that no launcher numbered is alone, and its device is the accelerator."""

import pytest
from vl_core import devices
from vl_core.runs.processes import ProcessGroup, current_process

RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@pytest.mark.parametrize(
    "environment",
    [{}, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, {"WORLD_SIZE": "4"}, {"RANK": "x", "WORLD_SIZE": "2"}],
)
def test_a_process_is_alone_unless_a_launcher_numbered_it(environment, monkeypatch):
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    alone = current_process()
    assert alone == ProcessGroup()
    assert alone.is_main
    alone.wait()
    assert alone.from_main("x") == "x"
    assert alone.gather([1]) == [[1]]


def test_a_launched_process_knows_its_place_before_it_connects(monkeypatch):
    for name, value in zip(RANKS, "341", strict=True):
        monkeypatch.setenv(name, value)
    assert current_process() == ProcessGroup(index=3, count=4, local_index=1)
    assert not current_process().is_main


@pytest.mark.parametrize(
    ("on_cpu", "ranks", "device"),
    [("True", "", "cpu"), ("False", "", "cuda"), ("", "341", "cuda:1"), ("", "342", "cuda:0")],
)
def test_the_default_device_is_this_process_share_of_the_accelerators(on_cpu, ranks, device, monkeypatch):
    accelerator = devices.torch.accelerator
    monkeypatch.setattr(accelerator, "current_accelerator", lambda check_available: devices.torch.device("cuda"))
    monkeypatch.setattr(accelerator, "device_count", lambda: 2)
    monkeypatch.setenv("ACCELERATE_USE_CPU", on_cpu)
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in zip(RANKS, ranks, strict=False):
        monkeypatch.setenv(name, value)
    assert devices.find_device("auto") == device
