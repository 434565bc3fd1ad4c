"""The callback logs the metrics of a submodule's outputs, and touches nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from vl_ssl import collapse_report
from vl_ssl.collapse.lightning_callback import collapse_callback

lightning = pytest.importorskip("lightning.pytorch")
Logger = pytest.importorskip("lightning.pytorch.loggers").Logger
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


class Rows(Logger):
    """A logger in memory."""

    name, version = "rows", 0

    def __init__(self):
        super().__init__()
        self.found = {}

    def log_hyperparams(self, *_):
        """Nothing."""

    def log_metrics(self, metrics, step=None):
        self.found.setdefault(step, {}).update(metrics)

    def steps(self, name="collapse/auc"):
        return [step for step, metrics in self.found.items() if name in metrics]


def trained(callbacks, folder, *, steps=6, resume=None, rows=None, **options):
    """Train on epochs of six steps."""
    model = Small()
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(1))
    loader = torch.utils.data.DataLoader(list(x), batch_size=16)
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        callbacks=callbacks,
        default_root_dir=folder,
        logger=rows or False,
        enable_model_summary=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        **options,
    )
    trainer.fit(model, loader, ckpt_path=resume)
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


@pytest.mark.parametrize("every", [4, 7, 30])
def test_reports_are_at_multiples_whatever_lightning_logs_and_where_a_run_resumes(every, tmp_path):
    whole, first, resumed = Rows(), Rows(), Rows()
    trained([collapse_callback("backbone", every=every, window=40)], tmp_path, steps=65, rows=whole)
    assert whole.steps() == list(range(every - 1, 65, every))
    _, trainer = trained([collapse_callback("backbone", every=every, window=40)], tmp_path, steps=22, rows=first)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    half = {"steps": 65, "resume": tmp_path / "half.ckpt"}
    trained([collapse_callback("backbone", every=every, window=40)], tmp_path, rows=resumed, **half)
    assert first.steps() + resumed.steps() == whole.steps()
    with pytest.raises(ValueError, match="a meter with window 40, here 39"):
        trained([collapse_callback("backbone", every=every, window=39)], tmp_path, **half)


def test_steps_are_those_of_the_optimizer_and_begin_anew_in_another_run(tmp_path):
    callback, rows = collapse_callback("backbone", every=2, window=40), Rows()
    model, _ = trained([callback], tmp_path, rows=rows, accumulate_grad_batches=3)
    assert len(model.seen) == 18
    assert rows.steps() == [1, 3, 5]
    again = Rows()
    trained([callback], tmp_path, rows=again)
    assert again.steps() == [1, 3, 5]


def test_several_callbacks_have_a_prefix_each(tmp_path):
    def callbacks(prefix="short", module="backbone"):
        return [collapse_callback("backbone", every=3), collapse_callback(module, every=2, window=16, prefix=prefix)]

    rows, again = Rows(), Rows()
    _, trainer = trained(callbacks(), tmp_path, steps=7, rows=rows)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed = callbacks()
    trained(resumed, tmp_path, steps=8, resume=tmp_path / "two.ckpt", rows=again)
    assert [rows.steps(), rows.steps("short/auc"), again.steps("short/auc")] == [[2, 5], [1, 3, 5], [7]]
    assert [callback.meter.samples for callback in resumed] == [128, 16]
    with pytest.raises(ValueError, match=r"prefix must be another for each .* got 'collapse' for backbone and head"):
        trained(callbacks("collapse", "head"), tmp_path)


def test_a_module_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="got 'encoder'; one of backbone"):
        trained([collapse_callback("encoder")], tmp_path)
    with pytest.raises(ValueError, match="every must be at least 1"):
        collapse_callback("backbone", every=0)
