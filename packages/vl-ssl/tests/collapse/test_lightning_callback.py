"""The callback logs the metrics of a submodule's outputs, and touches nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from vl_ssl import collapse_report
from vl_ssl.collapse.lightning_callback import collapse_callback

lightning = pytest.importorskip("lightning.pytorch")
pytestmark = pytest.mark.filterwarnings("ignore")


class Small(lightning.LightningModule):
    """A backbone with batch statistics, and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
        self.head = nn.Linear(5, 1)
        self.seen = []

    def training_step(self, batch, _):
        features = self.backbone(batch)
        self.seen.append(features.detach())
        return self.head(features).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(callbacks, folder):
    """Train for an epoch of six steps."""
    model = Small()
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(1))
    loader = torch.utils.data.DataLoader(list(x), batch_size=16)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=callbacks,
        default_root_dir=folder,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, loader)
    return model, trainer


def test_metrics_are_logged_and_the_training_is_the_same(tmp_path):
    callback = collapse_callback("backbone", every=3, window=40)
    model, trainer = trained([callback], tmp_path)
    expected = collapse_report(torch.cat(model.seen)[-40:]).as_dict()
    for name, value in expected.items():
        assert float(trainer.callback_metrics[f"collapse/{name}"]) == pytest.approx(value, rel=1e-5), name
    assert not model.backbone._forward_hooks
    plain, _ = trained([], tmp_path)
    for one, other in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    other = collapse_callback("backbone", window=40)
    other.load_state_dict(callback.state_dict())
    assert other.meter.compute().as_dict() == pytest.approx(callback.meter.compute().as_dict(), rel=1e-9)


def test_a_module_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="got 'encoder'; one of backbone"):
        trained([collapse_callback("encoder")], tmp_path)
    with pytest.raises(ValueError, match="every must be at least 1"):
        collapse_callback("backbone", every=0)
