"""A device that is not to be had is refused with the devices that are, and with advice that fits its kind."""

import re

import pytest
import torch
from vl_core.devices import checked_device, find_device

NAMELESS = "torch knows no device of that name"


@pytest.fixture
def accelerators(monkeypatch):
    """A machine with a number of accelerators that all fail, as far as torch tells."""

    def pretend(kind: str | None, count: int, failure: str = "no memory. Buy some.\nTrace"):
        def fail(*_, **__):
            raise RuntimeError(failure)

        device = None if kind is None else torch.device(kind)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: device)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch, "zeros", fail)

    return pretend


@pytest.mark.parametrize(
    ("device", "advice"),
    [
        ("foo", NAMELESS),
        ("CUDA", NAMELESS),
        ("", NAMELESS),
        ("1", NAMELESS),
        (-1, NAMELESS),
        (1.5, NAMELESS),
        ("meta", "it holds no numbers"),
        (torch.device("meta"), "it holds no numbers"),
        ("mps", "only macOS on Apple silicon has it"),
        ("mps:0", "only macOS on Apple silicon has it"),
        ("xpu", "this build of torch computes on no xpu; take cpu, or install a build that does"),
    ],
)
def test_the_advice_fits_the_kind_of_the_device(device, advice, accelerators):
    accelerators(None, 0)
    given = re.escape(repr(str(device) if isinstance(device, torch.device) else device))
    with pytest.raises(
        ValueError, match=rf"^device must be a device of this machine \(cpu\), got {given}; {advice}"
    ) as info:
        checked_device(device)
    assert "driver" not in str(info.value)
    assert "take cpu" in str(info.value)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize("built", [True, False])
def test_a_missing_gpu_and_a_build_without_it_are_told_apart(device, built, accelerators, monkeypatch):
    accelerators(None, 0, "Found no NVIDIA driver on your system. Please check.\nMore.")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    advice = (
        r"torch finds no GPU \(Found no NVIDIA driver on your system\); take cpu, or see to the driver and"
        if built
        else "this build of torch computes on no cuda; take cpu, or install a build that does$"
    )
    with pytest.raises(ValueError, match=rf"^--device must be auto or .* \(cpu\), got '{device}'; {advice}"):
        find_device(device)


@pytest.mark.parametrize(
    ("device", "advice"),
    [
        ("cuda:7", "the last cuda is cuda:1; take one of these"),
        (7, "the last cuda is cuda:1; take one of these"),
        ("cuda", r"it fails \(no memory\); free it, or take another"),
        ("cuda:1", r"it fails \(no memory\); free it, or take another"),
        ("gpu", f"{NAMELESS}; take one of these"),
        ("mps", "only macOS on Apple silicon has it; take one of these"),
    ],
)
def test_the_devices_that_there_are_are_listed(device, advice, accelerators):
    accelerators("cuda", 2)
    with pytest.raises(ValueError, match=rf"\(cpu, cuda:0, cuda:1\), got '?{device}'?; {advice}$"):
        checked_device(device)


@pytest.mark.parametrize("device", ["no_such", "meta", "cuda:99"])
def test_a_device_of_this_very_machine_that_does_not_work_is_refused(device):
    with pytest.raises(ValueError, match=f"--device must be auto or a device of this machine .*got '{device}'"):
        find_device(device)
    assert find_device("cpu") == "cpu"
