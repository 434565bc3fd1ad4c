"""Checkpoints come back as saved, survive a kill at any moment, and let a run end as if nothing had happened."""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file
from vl_core import _atomic
from vl_core.noise import gaussian, make_keys
from vl_core.runs import RunFolder, _checkpoint, _folder


@pytest.fixture(autouse=True)
def without_events(monkeypatch):
    monkeypatch.setattr(_folder, "_event_writer", lambda folder, first_step: None)


def test_tensors_and_state_come_back(tmp_path):
    run = RunFolder(tmp_path, {})
    tensors = {
        "weight": torch.arange(6.0).view(2, 3).T,
        "half": torch.tensor(0.5, dtype=torch.bfloat16),
        "count": torch.tensor([3]),
        "none": torch.empty(0, 4),
    }
    state = {"best": float("inf"), "classes": ["a", "ü"], "optimizer": {"0": {"step": 3}}, "note": None}
    run.save_checkpoint(7, tensors, state)
    checkpoint = RunFolder(tmp_path, {}).load_checkpoint()
    assert checkpoint.step == 7
    assert checkpoint.state == state
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(checkpoint.tensors[name], tensor)


def test_a_run_without_checkpoint_has_none(tmp_path):
    assert RunFolder(tmp_path, {}).load_checkpoint() is None


def test_tied_and_trainable_tensors_are_saved(tmp_path):
    run = RunFolder(tmp_path, {})
    weight = torch.nn.Parameter(torch.arange(4.0))
    run.save_checkpoint(1, {"a": weight, "b": weight, "part": weight[1:]}, {})
    tensors = run.load_checkpoint().tensors
    assert tensors["a"].tolist() == tensors["b"].tolist() == [0, 1, 2, 3]
    assert tensors["part"].tolist() == [1, 2, 3]


def test_loaded_tensors_outlive_the_next_checkpoint(tmp_path):
    run = RunFolder(tmp_path, {})
    run.save_checkpoint(1, {"a": torch.ones(1000)}, {})
    loaded = run.load_checkpoint().tensors["a"]
    run.save_checkpoint(2, {"a": torch.zeros(1000)}, {})
    assert torch.equal(loaded, torch.ones(1000))


class Killed(BaseException):
    """Stands for the end of the process: nothing that would run on the way out may run."""


def die(*arguments: object, **options: object) -> None:
    raise Killed


def write_half(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    path.write_bytes(b"half")
    raise Killed


@pytest.mark.parametrize(
    ("owner", "name", "ending", "survivor"),
    [
        (safetensors.torch, "save_file", write_half, 1),
        (_atomic, "sync", die, 1),
        (Path, "replace", die, 1),
        (_atomic, "_sync_folder", die, 2),
    ],
)
def test_a_kill_at_any_moment_leaves_one_whole_checkpoint(tmp_path, monkeypatch, owner, name, ending, survivor):
    run = RunFolder(tmp_path, {})
    run.save_checkpoint(1, {"weight": torch.full((1000,), 1.0)}, {"written": 1})
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, ending)
        patch.setattr(Path, "unlink", die)  # a killed process does not tidy up
        with pytest.raises(Killed):
            run.save_checkpoint(2, {"weight": torch.full((1000,), 2.0)}, {"written": 2})
    checkpoint = RunFolder(tmp_path, {}).load_checkpoint()
    assert (checkpoint.step, checkpoint.state) == (survivor, {"written": survivor})
    assert torch.equal(checkpoint.tensors["weight"], torch.full((1000,), float(survivor)))
    assert [entry.name for entry in (tmp_path / "checkpoint").iterdir()] == ["last.safetensors"]


KILLED_RUN = """
import os, sys, torch
from pathlib import Path
from vl_core.runs import RunFolder

run = RunFolder(sys.argv[1], {})
run.save_checkpoint(1, {"weight": torch.ones(3)}, {"written": 1})
Path.replace = lambda *paths: os._exit(9)
run.save_checkpoint(2, {"weight": torch.zeros(3)}, {"written": 2})
"""


def test_a_process_that_dies_before_renaming_leaves_the_previous_checkpoint(tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED_RUN, tmp_path / "run"], check=False)
    assert process.returncode == 9
    assert len(list((tmp_path / "run" / "checkpoint").iterdir())) == 2
    checkpoint = RunFolder(tmp_path / "run", {}).load_checkpoint()
    assert (checkpoint.step, checkpoint.state) == (1, {"written": 1})
    assert torch.equal(checkpoint.tensors["weight"], torch.ones(3))
    assert [entry.name for entry in (tmp_path / "run" / "checkpoint").iterdir()] == ["last.safetensors"]


def train(path: Path, *, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """Momentum descent on a noisy quadratic for 20 steps, with a checkpoint every six."""
    run = RunFolder(path, {"steps": 20, "rate": 0.1})
    weight, momentum, best, start = torch.zeros(5), torch.zeros(5), float("inf"), 0
    if checkpoint := run.load_checkpoint():
        weight, momentum = checkpoint.tensors["weight"], checkpoint.tensors["momentum"]
        best, start = checkpoint.state["best"], checkpoint.step
    for step in range(start, 20):
        if step == stop_at:
            raise Killed
        gradient = weight - 1 + gaussian(make_keys(0, 0, [step]), (5,))[0]
        momentum = 0.9 * momentum + gradient
        weight = weight - 0.1 * momentum
        best = min(best, float(gradient.square().sum()))
        run.log(step, loss=gradient.square().sum(), best=best)
        if (step + 1) % 6 == 0 or step == 19:
            run.save_checkpoint(step + 1, {"weight": weight, "momentum": momentum}, {"best": best})
    return {"weight": weight, "momentum": momentum}


@pytest.mark.parametrize("stops", [[0], [3], [6], [11, 11, 17], [2, 8, 19]])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, stops):
    expected = train(tmp_path / "whole")
    for stop in stops:
        with pytest.raises(Killed):
            train(tmp_path / "resumed", stop_at=stop)
    got = train(tmp_path / "resumed")
    assert torch.equal(got["weight"], expected["weight"])
    assert torch.equal(got["momentum"], expected["momentum"])
    for name in ("config.json", "metrics.jsonl", "checkpoint/last.safetensors"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_error_while_saving_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    run = RunFolder(tmp_path, {})
    run.save_checkpoint(1, {"a": torch.ones(2)}, {"written": 1})

    def full(path: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(_atomic, "sync", full)
    with pytest.raises(OSError, match="No space"):
        _checkpoint.save(tmp_path / "checkpoint" / "last.safetensors", 2, {"a": torch.zeros(2)}, {"written": 2})
    assert run.load_checkpoint().state == {"written": 1}
    assert [entry.name for entry in (tmp_path / "checkpoint").iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("content", ["text", "truncated", "foreign", "list", "no step", "deep"])
def test_a_file_that_is_no_checkpoint_is_an_error_naming_it(tmp_path, content):
    run = RunFolder(tmp_path, {})
    run.save_checkpoint(1, {"a": torch.ones(100)}, {})
    path = tmp_path / "checkpoint" / "last.safetensors"
    if content == "text":
        path.write_text("weights")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        headers = {"list": "[1]", "no step": '{"step": "1", "state": {}}', "deep": "[" * 5000}
        save_file({"a": torch.ones(1)}, path, {"run": headers[content]} if content in headers else None)
    with pytest.raises(ValueError, match=r"last\.safetensors is not a checkpoint"):
        run.load_checkpoint()


@pytest.mark.parametrize(
    ("step", "tensors", "state", "error", "message"),
    [
        (-1, {}, {}, ValueError, "step must not be negative"),
        (1, {"a": [1.0]}, {}, TypeError, "tensors must map strings to tensors, got 'a': list"),
        (1, {0: torch.ones(1)}, {}, TypeError, "tensors must map strings to tensors, got 0: Tensor"),
        (1, {}, {"groups": {0: "a"}}, TypeError, r"state\['groups'\] must have strings as keys .* write str\(0\)"),
        (1, {}, {"rng": torch.ones(1)}, TypeError, r"state\['rng'\] must be something JSON can keep .* got Tensor"),
    ],
)
def test_what_cannot_be_kept_is_an_error(tmp_path, step, tensors, state, error, message):
    run = RunFolder(tmp_path, {})
    with pytest.raises(error, match=message):
        run.save_checkpoint(step, tensors, state)
    assert run.load_checkpoint() is None
