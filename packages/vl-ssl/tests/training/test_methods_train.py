"""Every method trains, resumes and stays apart from torch.distributed, with the real augmentation and optimizers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from vl_ssl.augmentation.recipes import byol_recipe, small_recipe
from vl_ssl.methods.build import build_method
from vl_ssl.training.pretrain import pretrain
from vl_ssl.training.settings import PretrainSettings

SETTINGS = PretrainSettings(epochs=3, batch_size=8, base_learning_rate=0.5, warmup_epochs=0.5, seed=2)
HEADS = {"num_features": 12, "projection": 8, "hidden": 8}
METHODS = {
    "simsiam": {"predictor_hidden": 4},
    "byol": {"predictor_hidden": 4},
    "moco-v3": {"predictor_hidden": 4},
    "nnsiam": {"predictor_hidden": 4, "queue": 16},
    "simclr": {},
    "vicreg": {},
}


class Stopping:
    """A monitor that ends the process once, after an update."""

    def __init__(self, at):
        self.at = at

    def update(self, update, output, loss):
        if update == self.at:
            raise KeyboardInterrupt

    def metrics(self):
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert state == {}


def images():
    return torch.randint(256, (24, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def trained(out, name, settings=SETTINGS, stop_at=-1, **options):
    torch.manual_seed(3)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU())
    method = build_method(name, backbone, **HEADS, **METHODS[name])
    given = {"augmentation": small_recipe(8), "checkpoint_every": 4, "log_every": 3, "progress": False, **options}
    pretrain(method, images(), settings, out, monitor=Stopping(stop_at), **given)
    return method.state_dict()


@pytest.mark.parametrize(("name", "optimizer"), list(zip(METHODS, ["sgd", "lars", "adamw"] * 2, strict=True)))
def test_every_method_resumes_exactly_without_torch_distributed(tmp_path, name, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer, base_learning_rate=0.05 if optimizer == "adamw" else 0.5)
    whole = trained(tmp_path / "whole", name, settings)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", name, settings, stop_at=5)
    resumed = trained(tmp_path / "parts", name, settings)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert not torch.distributed.is_initialized()
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 5, 8]


def test_views_are_the_same_in_workers_and_on_the_device(tmp_path):
    device = trained(tmp_path / "device", "simsiam")
    workers = trained(tmp_path / "workers", "simsiam", replace(SETTINGS, augment_on="workers", workers=1))
    for key, value in device.items():
        torch.testing.assert_close(workers[key], value, rtol=0.01, atol=0.01)


def test_the_default_augmentation_follows_the_size_of_the_images(tmp_path):
    default = trained(tmp_path / "default", "simsiam", augmentation=None)
    given = trained(tmp_path / "given", "simsiam")
    other = trained(tmp_path / "other", "simsiam", augmentation=byol_recipe(8))
    assert all(torch.equal(default[key], given[key]) for key in given)
    assert not all(torch.equal(other[key], given[key]) for key in given)
