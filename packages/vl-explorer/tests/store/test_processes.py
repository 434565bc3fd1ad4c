"""Two processes on one store, and processes that are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import explorer_store
import pytest
import stress
from explorer_store import MOMENTS, explore, offer, url_of
from vl_core.results import read_rows
from vl_explorer.store.claims import Claim
from vl_explorer.store.store import Store

KILLS = 20


def test_threads_take_turns(tmp_path):
    granted = []

    def work(store):
        for number in range(30):
            if store.claim(url_of(number)) is Claim.GRANTED:
                granted.append(number)
                store.add_failure(url_of(number), "dns")

    with Store(tmp_path, owner="a") as first, Store(tmp_path, owner="b") as second:
        threads = [threading.Thread(target=work, args=(store,)) for store in (first, first, second, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {f.url for f in first.failures()} == {url_of(number) for number in range(30)}
    assert set(granted) == set(range(30))


def test_a_run_that_was_taken_up_equals_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_store, "ITERATIONS", 2)
    explore(tmp_path / "whole")
    monkeypatch.setattr(explorer_store, "ITERATIONS", 1)
    explore(tmp_path / "parts")
    monkeypatch.setattr(explorer_store, "ITERATIONS", 2)
    explore(tmp_path / "parts", owner="explorer")
    with Store(tmp_path / "whole") as whole, Store(tmp_path / "parts") as parts:
        assert whole.content() == parts.content()
        assert whole.content()["images"]


@pytest.mark.slow
def test_twenty_kills_leave_what_no_kill_leaves(tmp_path):
    explore(tmp_path / "whole")
    with Store(tmp_path / "whole") as store:
        expected = store.content()
        assert store.faults(contents=True) == []
    assert any(not image[-1] for image in expected["images"])  # some were evicted
    kills, folder, draws = 0, tmp_path / "killed", random.Random(time.time_ns())
    while kills < KILLS:
        command = [sys.executable, explorer_store.__file__, str(folder), "explorer"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "started\n"
        try:
            child.communicate(timeout=draws.uniform(0, 0.6))
            assert child.returncode == 0
            with Store(folder) as store:
                assert store.content() == expected
            folder = tmp_path / f"killed-{kills}"
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            kills += 1
            with Store(folder) as store:
                assert store.faults(contents=True) == []
    explore(folder)
    with Store(folder) as store:
        assert (store.content(), store.faults(contents=True)) == (expected, [])


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_what_no_kill_leaves(tmp_path):
    explore(tmp_path / "whole")
    with Store(tmp_path / "whole") as store:
        expected = store.content()
    recovered = {}
    for moment in MOMENTS:
        folder = tmp_path / moment
        child = subprocess.run([sys.executable, explorer_store.__file__, folder, "explorer", moment], check=False)
        assert child.returncode == -signal.SIGKILL, moment
        with Store(folder) as store:
            assert store.faults(contents=True) == [], moment
            recovered[moment] = store.recovered
        explore(folder)
        with Store(folder) as store:
            assert (store.content(), store.faults(contents=True)) == (expected, []), moment
    none = (0, 0)
    assert [recovered[moment] for moment in ("forgetting", "forgotten", "rewarded")] == [none, none, none]
    assert recovered["prepared"] == recovered["placed"] == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "killed"])
def test_two_processes_neither_lock_each_other_out_nor_download_twice(tmp_path, kill, capsys):
    arguments = ["--minutes", "0.33", "--out", str(tmp_path / "rows.csv"), *(["--kill"] if kill else [])]
    status = stress.main(arguments)
    (row,) = read_rows(tmp_path / "rows.csv")
    assert status == 0, row
    assert int(row["downloads"]) > 100
    assert (row["downloaded twice"], row["faults"], row["processes that failed"]) == ("0", "0", "0")
    assert (int(row["kills"]) > 3) == kill
    assert "downloaded twice 0" in capsys.readouterr().out


def test_a_new_folder_may_be_opened_by_many_at_once(tmp_path):
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda number: Store(tmp_path, owner=str(number)), range(6)))
        answers = list(pool.map(lambda store: store.claim(url_of(1)), stores))
    for store in stores:
        store.close()
    assert sorted(answers) == [Claim.GRANTED, *[Claim.HELD] * 5]


def test_both_see_what_either_adds(tmp_path):
    with Store(tmp_path) as first, Store(tmp_path) as second:
        added = offer(first, 1)
        assert second.path(added.sha256).exists()
        assert first.content() == second.content()
