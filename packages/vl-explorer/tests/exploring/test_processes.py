"""Explorers that are killed, and two of them on one store."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import explorer_loop
import pytest
from explorer_loop import explorer
from vl_core.files import read_json
from vl_explorer.store.store import Store

KILLS = 20


@contextmanager
def running(folder):
    """A process that explores; it is ended with the block if it has not ended by itself."""
    command = [sys.executable, explorer_loop.__file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "started\n"
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.slow
def test_twenty_kills_leave_what_no_kill_leaves(tmp_path):
    with running(tmp_path / "whole") as child:
        began = time.monotonic()
        assert child.wait() == 0
        seconds = time.monotonic() - began
    with Store(tmp_path / "whole") as store:
        expected = store.content()
    summaries = read_json(tmp_path / "whole" / "summaries.json", list)
    kills, runs, draws = 0, 0, random.Random(time.time_ns())
    while kills < KILLS or (tmp_path / f"killed-{runs}").is_dir():
        folder = tmp_path / f"killed-{runs}"
        with running(folder) as child:
            try:
                child.wait(timeout=draws.uniform(0, 0.5 * seconds) if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                kills += 1
                continue
        assert child.returncode == 0
        runs += 1
        assert_whole(folder, expected, summaries)


def assert_whole(folder, expected, summaries):
    with Store(folder) as store:
        assert store.content() == expected
        assert store.faults(contents=True) == []
    assert read_json(folder / "summaries.json", list) == summaries


def test_two_explorers_share_a_store_and_download_nothing_twice(tmp_path):
    """Both search for the same words; each address is fetched by one of them, and both have its reward."""
    fetched, runs = [], {}

    def work(name):
        with explorer(tmp_path / name, store=tmp_path / "store", name=name) as run:
            fetch = run._fetcher.fetch

            async def counted(url):
                fetched.append(url)
                return await fetch(url)

            run._fetcher.fetch = counted
            runs[name] = run.run(progress=False)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == len(set(fetched)) > 0
    assert [summary.found for summary in runs["first"]] == [summary.found for summary in runs["second"]]
    with Store(tmp_path / "store") as store, explorer(tmp_path / "alone") as alone:
        assert store.faults(contents=True) == []
        first, second = store.runs()
        assert store.rewards(first.id) == store.rewards(second.id)
        assert alone.run(progress=False) == runs["first"] == runs["second"]
