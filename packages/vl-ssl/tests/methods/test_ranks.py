"""Two ranks with half the batch are one process with all of it: losses, gradients, statistics, queue and momentum."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import method_ranks
import pytest
import torch
from method_problems import SETTINGS
from torch import nn
from vl_ssl import synchronize_batch_norm
from vl_ssl.methods.batch_norm import plain_batch_norm


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder of what two ranks wrote, run once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "torch.nn.parallel", "vl_ssl.methods.build"])
    path = tmp_path_factory.mktemp("ranks")
    processes = [context.Process(target=method_ranks.main, args=(rank, path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    return path


@pytest.mark.parametrize("name", SETTINGS)
def test_two_ranks_train_like_one_process(folder, name):
    expected = method_ranks.train(name, None)
    ranks = [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert max(value.abs().max() for key, value in expected.items() if key.startswith("gradient")) > 1e-3
    for key, value in expected.items():
        found = [rank[key] for rank in ranks]
        if key.startswith("loss"):
            found = [(found[0] + found[1]) / 2]
        for part in found:
            torch.testing.assert_close(part, value, rtol=0, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("kind", method_ranks.LAYERS)
def test_layers_normalize_uneven_batches_like_one(folder, kind):
    expected = method_ranks.normalize(kind, None)
    ranks = [torch.load(folder / f"{kind}-{rank}.pt", weights_only=True) for rank in (0, 1)]
    for key, value in expected.items():
        parts = [rank[key] for rank in ranks]
        if key == "rows evaluated" and kind == "untracked":
            continue  # without running statistics, evaluation takes those of its own rank, as PyTorch's layer does
        if key.startswith("rows"):
            parts = [torch.cat(parts)]
        elif key.startswith("sum"):
            parts = [parts[0] + parts[1]]
        for part in parts:
            torch.testing.assert_close(part, value, rtol=0, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("kind", method_ranks.LAYERS)
def test_without_ranks_the_layers_compute_what_they_did(kind):
    layer, other = method_ranks.LAYERS[kind](), synchronize_batch_norm(method_ranks.LAYERS[kind]())
    x = torch.randn(4, 4, *{"1d": (), "2d": (3, 2), "3d": (2, 1, 2), "act": (3, 2), "untracked": ()}[kind])
    assert torch.equal(layer(x), other(x))
    assert torch.equal(layer.eval()(x), other.eval()(x))
    assert layer.state_dict().keys() == other.state_dict().keys()
    assert type(plain_batch_norm(synchronize_batch_norm(other))) is type(layer)


def test_unknown_kinds_are_refused_before_anything_changes():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.LazyBatchNorm1d())
    with pytest.raises(TypeError, match=r"batch normalization of \['BatchNorm1d', .*got LazyBatchNorm1d"):
        synchronize_batch_norm(module)
    assert type(module[0]) is nn.BatchNorm1d
