"""Training of dual encoders: it learns, resumes exactly, and is the same in parts and on several processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from vl_vlm import CaptionedImages, ContrastiveSettings, DualEncoder, Towers, small_dual_encoder, train_dual_encoder

LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


def rows(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
def test_training_tells_images_apart(small_training, tmp_path, loss):
    model, scenes = small_training.model(loss), small_training.SCENES.subset(range(6))
    settings = ContrastiveSettings(updates=150, batch_size=6, learning_rate=3e-3, warmup=10, crop_scale=(1.0, 1.0))
    train_dual_encoder(model, scenes, settings, tmp_path, progress=False)
    similarity = model.similarity([item.image for item in scenes], [item.captions[0] for item in scenes])
    assert similarity.argmax(1).tolist() == list(range(6))
    assert rows(tmp_path)[-1]["loss"] < rows(tmp_path)[0]["loss"]
    assert ("bias" in rows(tmp_path)[0]) == (loss == "sigmoid")


@pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
def test_sub_batches_train_as_the_whole_batch_does(small_training, tmp_path, loss):
    whole = small_training.main(tmp_path / "whole", loss=loss)
    parts = small_training.main(tmp_path / "parts", 3, loss=loss)
    found, expected = small_training.similarity(parts), small_training.similarity(whole)
    assert (expected - small_training.similarity(small_training.model(loss).state_dict())).abs().max() > 0.1
    # Weights differ where they make no difference: the bias of keys has a gradient of rounding alone.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_an_interrupted_run_resumes_exactly_with_other_sub_batches_in_between(small_training, tmp_path, monkeypatch):
    whole = small_training.main(tmp_path / "whole", 4)
    monkeypatch.setattr(small_training.os, "kill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        small_training.main(tmp_path / "stopped", 4, 44)
    resumed = small_training.main(tmp_path / "stopped", 4)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    with pytest.raises(ValueError, match="batch_size"):
        train_dual_encoder(
            small_training.model(), small_training.SCENES, replace(small_training.SETTINGS, batch_size=4),
            tmp_path / "stopped", progress=False,
        )  # fmt: skip


@pytest.mark.slow  # four processes that import PyTorch and transformers
def test_a_killed_run_resumes_and_two_processes_are_one(small_training, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    program = [sys.executable, small_training.__file__]
    killed = subprocess.run([*program, tmp_path / "killed", "0", "44"], env=environment, capture_output=True)
    assert killed.returncode == -9
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    jobs = [
        subprocess.Popen([*program, tmp_path / "killed"], env=environment),
        subprocess.Popen([*LAUNCH, small_training.__file__, tmp_path / "two", "2"], env=environment),
    ]
    whole = small_training.main(tmp_path / "whole")
    assert [job.wait() for job in jobs] == [0, 0]
    resumed, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("killed", "two"))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    found, expected = small_training.similarity(two), small_training.similarity(whole)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_a_locked_network_keeps_its_weights(small_training, tmp_path):
    model, before = small_training.model(), small_training.model().state_dict()
    settings = replace(small_training.SETTINGS, updates=2, lock_image=True)
    train_dual_encoder(model, small_training.SCENES, settings, tmp_path, progress=False)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("towers.vision.") for name in changed)
    assert {"towers.image_projection.weight", "towers.text_projection.weight", "logit_scale"} <= changed


def test_the_scale_never_exceeds_its_limit(small_training, tmp_path):
    model = small_training.model()
    settings = replace(small_training.SETTINGS, updates=2, max_scale=12.0)
    train_dual_encoder(model, small_training.SCENES, settings, tmp_path, log_every=1, progress=False)
    assert [row["scale"] for row in rows(tmp_path)] == pytest.approx([12.0, 12.0], rel=1e-2)


def test_a_folder_belongs_to_one_architecture(small_training, tmp_path):
    settings = replace(small_training.SETTINGS, updates=2)
    train_dual_encoder(small_training.model(), small_training.SCENES, settings, tmp_path, progress=False)
    captions = [caption for own in small_training.SCENES.captions for caption in own]
    other = small_dual_encoder(captions, image_size=16, width=64, depth=1, text_depth=1, dim=16)
    with pytest.raises(ValueError, match="weights"):
        train_dual_encoder(other, small_training.SCENES, settings, tmp_path, progress=False)


def with_batch_norm(small_training):
    vision = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.BatchNorm2d(4), nn.Flatten())
    text = small_training.model().towers.text.network
    return DualEncoder(Towers(vision, text, dim=8), small_training.model().tokenizer, image_size=16)


def test_refused(small_training, tmp_path):
    scenes, settings = small_training.SCENES, small_training.SETTINGS
    with pytest.raises(ValueError, match="sub_batch must be 0 for a model with batch normalization"):
        train_dual_encoder(with_batch_norm(small_training), scenes, replace(settings, sub_batch=2), tmp_path)
    with pytest.raises(ValueError, match="dataset must hold at least two images, got 1"):
        train_dual_encoder(small_training.model(), scenes.subset([0]), settings, tmp_path)
    pixels = np.full((8, 8, 3), 0.5, np.float32) * np.nan
    broken = CaptionedImages(
        [Image.new("RGB", (8, 8)), torch.from_numpy(pixels).permute(2, 0, 1)],
        [["a"], ["b"]],
        names=["x", "y"],
        name="two",
    )
    with pytest.raises(ValueError, match="two, image 'y': image 1: image must be finite"):
        train_dual_encoder(small_training.model(), broken, replace(settings, batch_size=2), tmp_path, progress=False)
