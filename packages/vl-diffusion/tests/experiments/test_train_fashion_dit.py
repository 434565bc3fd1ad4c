"""The script that trains the shipped diffusion model, on a few synthetic images."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import train_fashion_dit
from diffusers import DDPMScheduler, DiTTransformer2DModel
from safetensors.torch import load_file
from vl_core.data import open_dataset
from vl_core.runs import Checkpoint, RunFolder


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


def checkpoint(out: Path) -> Checkpoint:
    """The last checkpoint of a run."""
    found = RunFolder(out, json.loads((out / "config.json").read_text())).load_checkpoint()
    assert found is not None
    return found


def run(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, *more: object) -> None:
    arguments = ["--data", data, "--out", out, "--steps", 4, "--batch", 8, "--warm-up", 2, "--checkpoint-every", 2]
    arguments += more
    monkeypatch.setattr(sys, "argv", ["train_fashion_dit.py", *map(str, arguments)])
    train_fashion_dit.main()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty-four images of noise, in the files of Fashion-MNIST."""
    folder, random = tmp_path_factory.mktemp("fashion_mnist"), np.random.default_rng(0)
    write_idx(folder / "train-images-idx3-ubyte.gz", random.integers(0, 256, (64, 28, 28)))
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.arange(64) % 10)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four steps without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(monkeypatch, data, out)
    return out


def test_a_resumed_run_ends_with_the_same_weights(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = train_fashion_dit.batch_at

    def interrupt_at_the_last_step(step, *rest):
        if step == 3:
            raise KeyboardInterrupt
        return draw(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(train_fashion_dit, "batch_at", interrupt_at_the_last_step)
        with pytest.raises(KeyboardInterrupt):
            run(patch, data, tmp_path)
    # Step 2 was taken and lost: the last checkpoint is older than it.
    assert checkpoint(tmp_path).step == 2
    assert not (tmp_path / "model").exists()

    run(monkeypatch, data, tmp_path)
    expected, resumed = (checkpoint(out).tensors for out in (whole, tmp_path))
    assert checkpoint(whole).step == checkpoint(tmp_path).step == 4
    assert any(name.startswith("optimizer.") for name in expected)
    assert any(name.startswith("ema.") for name in expected)
    torch.testing.assert_close(resumed, expected, rtol=0, atol=0)
    files = ("config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json", "classes.json")
    for file in files:
        assert (tmp_path / "model" / file).read_bytes() == (whole / "model" / file).read_bytes()


def test_training_separates_weights_and_ema(whole: Path) -> None:
    tensors = checkpoint(whole).tensors
    torch.manual_seed(0)
    untrained = train_fashion_dit.build_model().state_dict()
    name = "pos_embed.proj.weight"
    assert not torch.equal(tensors[f"trained.{name}"], untrained[name])
    assert not torch.equal(tensors[f"trained.{name}"], tensors[f"ema.{name}"])


def test_exported_folder_is_the_average_in_half_precision_for_diffusers_to_load(whole: Path) -> None:
    model = DiTTransformer2DModel.from_pretrained(whole / "model").eval()
    scheduler = DDPMScheduler.from_pretrained(whole / "model")
    average = checkpoint(whole).tensors
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.half(), average[f"ema.{name}"].half(), rtol=0, atol=0)
    assert scheduler.config.beta_schedule == "squaredcos_cap_v2"
    assert scheduler.config.num_train_timesteps == 1000
    classes = json.loads((whole / "model" / "classes.json").read_text())
    assert classes == list(open_dataset("fashion").classes)
    assert len(classes) == train_fashion_dit.CLASSES == train_fashion_dit.NULL_CLASS
    with torch.no_grad():
        # Class 10 is the one for no class.
        predicted = model.float()(
            torch.zeros(2, 1, 28, 28), timestep=torch.tensor([500, 500]), class_labels=torch.tensor([0, 10])
        ).sample
    assert predicted.shape == (2, 1, 28, 28)
    assert not torch.allclose(predicted[0], predicted[1])


def test_each_batch_depends_on_the_seed_and_the_step_alone() -> None:
    args = train_fashion_dit.argparse.Namespace(seed=0, batch=8, null_share=0.5, augment=False)
    images, labels = torch.arange(64).view(64, 1, 1, 1).expand(64, 1, 2, 2).byte(), torch.arange(64) % 10
    first, again, later = (
        train_fashion_dit.batch_at(step, torch.arange(8), images, labels, args) for step in (5, 5, 6)
    )
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first[3], later[3])
    shown = train_fashion_dit.batch_at(0, torch.tensor([3, 60]), images, labels, args)[0][:, 0, 0, 0]
    torch.testing.assert_close(shown, torch.tensor([3, 60]) / 127.5 - 1)


def test_a_batch_draws_one_time_step_in_each_part_of_the_schedule() -> None:
    args = train_fashion_dit.argparse.Namespace(seed=1, batch=8, null_share=0.0, augment=True)
    timestep = train_fashion_dit.batch_at(
        0, torch.arange(8), torch.zeros(64, 1, 2, 2).byte(), torch.zeros(64).long(), args
    )[2]
    assert (timestep // 125).tolist() == list(range(8))


def test_a_run_starts_from_a_trained_model_with_augmentation(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*more: object) -> torch.Tensor:
        run(monkeypatch, data, tmp_path / str(len(more)), "--begin-with", whole / "model", "--peak-lr", 1e-5, *more)
        weights = load_file(tmp_path / str(len(more)) / "model/diffusion_pytorch_model.safetensors")
        return weights["pos_embed.proj.weight"].float()

    start = load_file(whole / "model/diffusion_pytorch_model.safetensors")["pos_embed.proj.weight"].float()
    clean, augmented = begun(), begun("--augment")
    for weights in (clean, augmented):
        torch.testing.assert_close(weights, start, rtol=0, atol=1e-3)
    assert not torch.equal(clean, augmented)
