"""Several processes give the loss and the parameter gradients of one process with the whole batch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import loss_ranks
import pytest
import torch

RANKS = [1, 2, pytest.param(4, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Callable[[int], Path]:
    """Run all cases on some ranks, once, and return the folder with what they found."""
    # The ranks are copies of one process that has imported everything already, what DistributedDataParallel
    # imports when it is first called included.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "torch.nn.parallel", "vl_vlm.losses.modules"])
    done: dict[int, Path] = {}

    def run(ranks: int) -> Path:
        if ranks not in done:
            done[ranks] = tmp_path_factory.mktemp(f"ranks{ranks}")
            processes = [
                context.Process(target=loss_ranks.main, args=(rank, ranks, done[ranks])) for rank in range(ranks)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join(100)
            assert [process.exitcode for process in processes] == [0] * ranks
        return done[ranks]

    return run


@pytest.mark.parametrize("case", loss_ranks.CASES)
@pytest.mark.parametrize("ranks", RANKS)
def test_ranks_give_the_gradients_of_one_process(results, ranks, case):
    folder = results(ranks)
    whole = loss_ranks.Towers(loss_ranks.make_loss(case, None)).double()
    expected = whole(*loss_ranks.batch(case, 1, None))
    expected.backward()
    parameters = list(whole.parameters())
    assert all(parameter.grad.abs().max() > 1e-3 for parameter in parameters)
    for rank in range(ranks):
        loss, *gradients = torch.load(folder / f"{case}-{rank}.pt", weights_only=True)
        torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-10)
        for found, parameter in zip(gradients, parameters, strict=True):
            torch.testing.assert_close(found, parameter.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("ranks", RANKS[1:])
def test_an_error_on_one_rank_is_an_error_on_all(results, ranks):
    messages = [(results(ranks) / f"refused-{rank}.txt").read_text(encoding="utf-8") for rank in range(ranks)]
    assert "images must be finite" in messages[0]
    assert all("got an error on rank 0" in message for message in messages[1:])


def test_a_group_needs_processes():
    with pytest.raises(ValueError, match=r"group must be None before torch\.distributed\.init_process_group"):
        loss_ranks.make_loss("info_nce-pairs", object())(torch.eye(2).double(), torch.eye(2).double())
