"""Ranks that meter parts of the features get the report of the whole, the same to the last bit on each."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import meter_ranks
import pytest
from vl_ssl import CollapseMeter


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> list[dict]:
    """Reports of two ranks by case."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    # The ranks are copies of one process that has imported everything already.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vl_ssl.collapse.meter", "scipy.linalg.blas"])
    processes = [context.Process(target=meter_ranks.main, args=(rank, 2, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.mark.parametrize("case", meter_ranks.CASES)
def test_two_ranks_give_the_report_of_one(reports, case):
    options = dict(meter_ranks.CASES[case])
    features = meter_ranks.all_features()
    if case == "window":
        # Four samples of the first rank, and the last thirty of the second.
        options, features = {}, features[[*range(4), *range(12, 42)]]
    whole = meter_ranks.fill(CollapseMeter(**options), case, features).compute()
    assert reports[0][case] == reports[1][case]
    numbers, values = reports[0][case]
    assert values == pytest.approx(whole.singular_values, rel=1e-9)
    assert numbers == pytest.approx(whole.as_dict(), rel=1e-9)


def test_ranks_with_different_widths_are_refused_on_all(reports):
    assert "one width d on all ranks, got 3 and 4" in reports[0]["refused"]
    assert reports[1]["refused"] == reports[0]["refused"]


def test_one_process_has_nothing_to_exchange():
    meter = meter_ranks.fill(CollapseMeter(), "gram", meter_ranks.all_features())
    expected = meter.compute()
    assert meter.synchronized().compute() == expected
    meter.all_reduce()
    assert meter.compute() == expected
    assert CollapseMeter().synchronized().samples == 0
