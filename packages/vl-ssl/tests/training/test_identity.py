"""A folder is resumed by the network, optimizer and monitor that began it, and by no other of equal weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from vl_core.data import Normalization
from vl_ssl import CollapseMonitor, PretrainSettings, SimSiam, build_backbone, build_optimizer, pretrain
from vl_ssl.training.identity import run_config

SETTINGS = PretrainSettings(epochs=1, batch_size=8, base_learning_rate=0.1)


def train(out, *, normalization=None, optimizer="sgd", decay=1e-4, monitor=None, **options):
    """One update of a small network on images of noise."""
    torch.manual_seed(0)
    options = {"width": 2, "depth": "10", "stem_stride": 2, **options}
    backbone = build_backbone("small_resnet", channels=1, normalization=normalization, **options)
    method = SimSiam(backbone, projection=8, predictor_hidden=4)
    own = build_optimizer(optimizer, method.parameter_groups(decay), learning_rate=7.0)
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    monitor = {"every": 2, **(monitor or {})}
    pretrain(method, images, SETTINGS, out, optimizer=own, monitor=CollapseMonitor(**monitor), progress=False)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with a run."""
    folder = tmp_path_factory.mktemp("identity") / "run"
    train(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem_stride": 1}, r"configuration: backbone\.options\.stem_stride \(2 in the folder, now 1\)"),
        (
            {"normalization": Normalization((0.0,), (5.0,))},
            r"backbone\.std \(\[0\.2\d+\] in the folder, now \[5\.0\]\)",
        ),
        ({"optimizer": "lars"}, r"optimizer\.SGD \(only in the folder\); optimizer\.LARS \(only in the new"),
        ({"optimizer": "adamw"}, r"optimizer\.AdamW \(only in the new configuration\)"),
        ({"decay": 1e-3}, r"optimizer\.SGD\.group 0\.weight_decay \(0\.0001 in the folder, now 0\.001\)"),
        ({"monitor": {"every": 5, "rise": 0.4}}, r"monitor\.every \(2 in .*, now 5\); monitor\.rise \(0\.75 in"),
        ({"monitor": {"window": 64}}, r"monitor\.window \(None in the folder, now 64\)"),
    ],
)
def test_another_network_optimizer_or_monitor_is_named(begun, change, message):
    with pytest.raises(ValueError, match=message):
        train(begun, **change)


def test_the_same_run_is_resumed_with_another_action(begun):
    before = (begun / "config.json").read_bytes(), (begun / "metrics.jsonl").read_bytes()
    train(begun, monitor={"action": "stop"})
    assert ((begun / "config.json").read_bytes(), (begun / "metrics.jsonl").read_bytes()) == before


class Plain:
    """Views that are no dataclass."""

    def __init__(self, noise):
        self.noise = noise

    def describe(self):
        return {"noise": self.noise}


def test_what_json_does_not_keep_is_known_by_its_name():
    backbone = build_backbone("small_resnet", channels=1, width=2, depth="10")
    method = SimSiam(backbone, projection=8)
    optimizer = torch.optim.SGD([{"params": list(method.parameters()), "hook": len, "kind": nn.ReLU()}], lr=0.1)
    schedule = type("Order", (), {"describe": lambda self: {}})()
    options = {"schedule": schedule, "on_device": True, "optimizer": optimizer, "monitor": object()}
    found = run_config(method, torch.zeros(2, 1, 8, 8), SETTINGS, augmentation=Plain(0.5), **options)
    assert found["augmentation"] == {"name": "Plain", "noise": 0.5}
    group = found["optimizer"]["SGD"]["group 0"]
    assert (group["hook"], group["kind"], group["momentum"]) == ("len", "ReLU", 0)
    assert "lr" not in group
    assert "monitor" not in found
