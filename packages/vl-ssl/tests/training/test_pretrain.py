"""Pre-training resumes exactly and shows monitors and probes the whole of an update."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from vl_ssl.methods.build import METHODS
from vl_ssl.schedules.chunks import MultiEpoch
from vl_ssl.training.images import ImagesInOrder

SCRIPT = Path(__file__).parent / "small_pretraining.py"
SPEC = importlib.util.spec_from_file_location("small_pretraining", SCRIPT)
small = importlib.util.module_from_spec(SPEC)
sys.modules["small_pretraining"] = small  # dataclasses look up their module
SPEC.loader.exec_module(small)
SETTINGS, Meter, Noise, new_method, train = small.SETTINGS, small.Meter, small.Noise, small.new_method, small.train

linux = pytest.mark.skipif(sys.platform != "linux", reason="ranks are forked")
pytestmark = pytest.mark.filterwarnings("ignore:.*fewer samples:UserWarning")


class Interrupted(Meter):
    """Ends the process after an update has been trained and before it is kept."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def update(self, update, output, loss):
        if update == self.at:
            raise KeyboardInterrupt
        return super().update(update, output, loss)


class Photos:
    """Labeled PIL images, gray and color."""

    names = tuple(f"photo {index}" for index in range(24))

    def __len__(self):
        return 24

    def __getitem__(self, index):
        pixels = small.images()[index, 0].numpy()
        return Image.fromarray(pixels if index % 2 else np.stack([pixels] * 3, axis=-1)), index % 3


def same(one, other):
    one, other = ((each if isinstance(each, dict) else each.state_dict()) for each in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def checkpoint(out):
    return load_file(out / "checkpoint" / "last.safetensors")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_triggered_switch_shows_the_same_samples_whatever_the_workers(tmp_path, workers):
    method = train(tmp_path / "run", new_method(), replace(SETTINGS, workers=workers))
    assert method.seen == small.expected()
    assert same(method, train(tmp_path / "other", new_method()))
    assert [row["switched"] for row in rows(tmp_path / "run")] == [0] * 3 + [1] * 6


@pytest.mark.parametrize(("at", "every"), [(0, 1), (4, 1), (5, 4)])
def test_an_interrupted_run_ends_like_one_that_was_not(tmp_path, at, every):
    whole = train(tmp_path / "whole", new_method())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", new_method(), monitor=Interrupted(at), checkpoint_every=every)
    resumed = train(tmp_path / "parts", new_method(), replace(SETTINGS, workers=2 * (at == 4)), checkpoint_every=every)
    assert same(whole, resumed)
    assert resumed.seen == small.expected()[every * (at // every) :]
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert same(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts"))


def script(out, *jobs):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    program = [sys.executable, "-W", "ignore", str(SCRIPT), str(out), *map(str, jobs)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def killed_ranks(out, *kills):
    """Run the script; return the runs' logs by name and rank, and their weights and checkpoints."""
    script(out, *kills)
    names = ["whole", *(f"killed-{kill}" for kill in kills)]
    logs = {
        name: [
            [json.loads(line) for line in (out / name / f"rank-{rank}.jsonl").read_text().splitlines()]
            for rank in range(2)
        ]
        for name in names
    }
    weights = {name: torch.load(out / name / "weights.pt") for name in names}
    return logs, weights, {name: checkpoint(out / name / "run") for name in names}


def check_ranks(out, *kills):
    logs, weights, checkpoints = killed_ranks(out, *kills)
    for name in logs:
        for update, expected in enumerate(small.expected()):
            halves = [log[update] for log in logs[name]]
            assert [number for number, _ in halves] == [update, update]
            assert halves[0][1] + halves[1][1] == expected
        assert [len(log) for log in logs[name]] == [small.UPDATES] * 2
        assert same(weights["whole"], weights[name])
        assert same(checkpoints["whole"], checkpoints[name])
        assert rows(out / name / "run") == rows(out / "whole" / "run")
    return weights["whole"]


@linux
def test_two_killed_ranks_with_workers_lose_and_repeat_no_sample_and_are_one_process(tmp_path):
    two = check_ranks(tmp_path, 5)
    one = train(tmp_path / "one", new_method(), replace(SETTINGS, augment_on="workers")).state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-4)


@linux
@pytest.mark.slow
def test_ranks_may_be_killed_at_the_first_and_the_last_update(tmp_path):
    assert check_ranks(tmp_path, 0, 3, small.UPDATES - 1)


@linux
@pytest.mark.slow
def test_every_method_on_two_ranks_is_one_process_with_the_whole_batch(tmp_path):
    script(tmp_path, *METHODS)
    for name in METHODS:
        one = small.train_method(tmp_path / f"{name}-one", name).state_dict()
        two = torch.load(tmp_path / name / "weights.pt")
        for key, value in one.items():
            torch.testing.assert_close(
                two[key], value, rtol=1e-4, atol=1e-4, msg=lambda text, at=(name, key): f"{at} {text}"
            )


def test_a_monitor_sees_all_passes_of_an_update_in_the_order_of_positions(tmp_path):
    monitors = [Meter(), Meter()]
    for accumulation, monitor in zip((1, 4), monitors, strict=True):
        method = new_method()
        method.eval()
        method.train = lambda mode=True: None  # running statistics, so that passes are parts of a batch
        settings = replace(SETTINGS, accumulation=accumulation, base_learning_rate=0.0, warmup_epochs=0.0)
        train(tmp_path / str(accumulation), method, settings, monitor=monitor, schedule=MultiEpoch(24, 3))
        assert int(method.done) == small.UPDATES  # momentum moves once an update
    for whole, parts in zip(*(monitor.outputs for monitor in monitors), strict=True):
        assert parts.loss.item() == pytest.approx(whole.loss.item(), abs=1e-5)
        for name in ("features", "projections"):
            for one, other in zip(getattr(whole, name), getattr(parts, name), strict=True):
                assert one.shape[0] == 8
                torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_rows_hold_loss_rate_epoch_monitor_and_probe(tmp_path):
    asked = []

    def probe(method, update):
        asked.append(update)
        return {"knn": update / 8}

    train(tmp_path, new_method(), probe=probe, probe_every=4, log_every=2)
    found = rows(tmp_path)
    assert asked == [3, 7, 8]
    assert [row.get("knn") for row in found] == [None, 3 / 8, None, 7 / 8, 1]
    assert [row["step"] for row in found] == [1, 3, 5, 7, 8]
    assert [row["samples"] for row in found] == [16, 32, 48, 64, 72]
    assert [row["epoch"] for row in found] == pytest.approx([2 / 3, 4 / 3, 2, 8 / 3, 3])
    loop = SETTINGS.loop(24)
    assert [row["learning_rate"] for row in found] == [loop.learning_rate_at(row["step"]) for row in found]
    assert (tmp_path / "tensorboard").is_dir()


def test_the_default_shows_every_image_once_an_epoch_and_lowers_the_loss(tmp_path):
    settings = replace(SETTINGS, epochs=10, base_learning_rate=8.0)
    method = train(tmp_path, new_method(), settings, schedule=None, monitor=None)
    for start in range(0, 30, 3):
        assert sorted(chain(*method.seen[start : start + 3])) == list(range(24))
    losses = [row["loss"] for row in rows(tmp_path)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2


def test_the_predictor_keeps_the_peak_rate(tmp_path):
    given = []

    class Rates(Meter):
        def update(self, update, output, loss):
            super().update(update, output, loss)
            given.append([group["lr"] for group in optimizer.param_groups])

    method = new_method()
    optimizer = torch.optim.SGD(method.parameter_groups(0.0), lr=1.0, momentum=0.9)
    train(tmp_path, method, monitor=Rates(), optimizer=optimizer)
    loop = SETTINGS.loop(24)
    assert given == [[loop.learning_rate_at(update), loop.learning_rate] for update in range(9)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment_on", ["workers", "device"])
def test_labeled_images_of_mixed_modes_become_one_kind(tmp_path, channels, augment_on):
    class Tensors(Noise):
        def per_image(self, seed):
            seen = super().per_image(seed)
            return lambda image, at: seen(torch.from_numpy(np.atleast_3d(np.array(image))).permute(2, 0, 1), at)

    method = new_method()
    if channels == 3:
        method.backbone[1] = nn.Linear(48, 12)
        method.slow = method.backbone[1].weight.detach().clone()
    settings = replace(SETTINGS, augment_on=augment_on)
    train(tmp_path, method, settings, data=Photos(), augmentation=Tensors(), channels=channels)
    assert method.seen == small.expected()


def test_half_precision_stays_close_and_leaves_augmentation_alone(tmp_path):
    settings = replace(SETTINGS, base_learning_rate=0.1)
    half = train(tmp_path / "half", new_method(), replace(settings, precision="bfloat16"))
    whole = train(tmp_path / "whole", new_method(), settings)
    assert not same(half, whole)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(half.state_dict()[name], value, rtol=0.02, atol=0.02)


def test_a_switch_where_there_is_none_is_a_warning_and_no_end(tmp_path, caplog):
    train(tmp_path, new_method(), schedule=MultiEpoch(24, 3))
    assert "the monitor asks for a switch" in caplog.text
    assert len(rows(tmp_path)) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": MultiEpoch(24, 4)}, r"schedule must have the 3 epochs of the settings, got 4"),
        ({"schedule": MultiEpoch(25, 3)}, r"schedule must be for the 24 images of the data set, got 25"),
        ({"data": torch.zeros(1, 1, 4, 4), "schedule": None}, r"at least two images, got 1"),
        ({"data": torch.zeros(24, 4, 4)}, r"must be a tensor \(N, C, H, W\), .* got torch\.float32 \(24, 4, 4\)"),
        ({"data": torch.zeros(24, 1, 4, 4).long()}, r"uint8 or floating point in \[0, 1\], got torch\.int64"),
        ({"data": torch.full((24, 1, 4, 4), 1.5)}, r"dataset must hold .* in \[0, 1\], got 1\.5 to 1\.5; divide bytes"),
        ({"data": torch.full((24, 1, 4, 4), torch.nan)}, r"in \[0, 1\], got nan"),
        ({"data": [torch.full((1, 4, 4), -0.5)] * 24}, r"image \d+ of the data set must hold .*, got -0\.5 to -0\.5"),
        ({"probe": lambda *_: {}, "probe_every": 3, "log_every": 2}, r"probe_every must be a multiple of .* 2, got 3"),
        ({"settings": replace(SETTINGS, batch_size=80)}, r"batch_size must be at most the run's 72 positions"),
        ({"settings": replace(SETTINGS, accumulation=3)}, r"batch_size must be a multiple of"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", new_method(), **change)
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.parametrize(
    ("sample", "got"),
    [
        ({"image": torch.zeros(1, 4, 4), "label": 3}, "a dictionary of image, label"),
        ("photo.png", "str"),
        ((), "tuple"),
    ],
)
def test_samples_that_are_no_images_are_named(tmp_path, sample, got):
    for augmentation in (Noise(), None):
        with pytest.raises(TypeError, match=rf"PIL images or tensors .* such as \(image, label\), got {got}; wrap"):
            train(tmp_path / "run", new_method(), data=[sample] * 24, augmentation=augmentation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": MultiEpoch(24, 3)}, r"another configuration: schedule"),
        ({"augmentation": Noise(0.3)}, r"augmentation\.scale \(0\.2 in the folder, now 0\.3\)"),
        ({"data": small.images().flip(0)}, r"another configuration: images"),
        ({"settings": replace(SETTINGS, augment_on="workers")}, r"augment_on \('device' in the folder"),
        ({"settings": replace(SETTINGS, seed=6)}, r"pretrain\.seed"),
        ({"settings": replace(SETTINGS, momentum=0.5)}, r"optimizer\.SGD\.group 0\.momentum \(0\.9 in the folder, now"),
        ({"monitor": None}, r"state must name \['monitor', 'schedule'\]"),
    ],
)
def test_a_folder_with_another_run_is_refused(tmp_path, change, message):
    train(tmp_path, new_method())
    with pytest.raises(ValueError, match=message):
        train(tmp_path, new_method(), **change)


@pytest.mark.parametrize(("mode", "top"), [("I;16", 65_535), ("F", 1.0)])
def test_deep_gray_images_keep_their_levels(mode, top):
    values = (np.linspace(0, top, 64).reshape(8, 8)).astype(np.uint16 if mode == "I;16" else np.float32)
    photos = [Image.fromarray(values)] * 2
    assert photos[0].mode == mode
    image, _ = ImagesInOrder(photos, MultiEpoch(2, 1))[0]
    assert image.shape == (1, 8, 8)
    assert len(image.unique()) == 64
    assert image.float().mean() == pytest.approx(0.5, abs=0.01)


def test_a_loss_that_diverges_is_named_before_the_monitor_sees_it(tmp_path):
    with pytest.raises(ValueError, match=r"the loss is not finite at update .*lower the learning rate"):
        train(tmp_path, new_method(), replace(SETTINGS, base_learning_rate=1e25))
