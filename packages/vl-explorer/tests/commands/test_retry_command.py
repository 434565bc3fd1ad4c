"""`vl-explorer retry` against a server on this machine, which fails at first."""

import asyncio
import os
import re
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from explorer_hostile_web import LOCAL, FakeClock, FakeResolver, HostileWeb, RecordingNetwork, answer
from explorer_store import drawn, encoded
from PIL import Image
from vl_explorer.cli import main
from vl_explorer.commands import retry as retry_command
from vl_explorer.commands._recorded import to_record
from vl_explorer.commands.settings.run import Run
from vl_explorer.exploring import fetching
from vl_explorer.exploring.fetching import Fetching, LocalFetcher
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.store.rows import Result, Source
from vl_explorer.store.store import Store
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.policy import Policy

GOOD = "http://site.example/a.png"


def retry(*arguments):
    return main(["retry", *map(str, arguments)])


@contextmanager
def web(pages, monkeypatch):
    """The pages of made-up hosts, served in a thread, as all that the command's downloader reaches."""
    served = HostileWeb(pages)
    loop = asyncio.new_event_loop()

    async def start():
        return await asyncio.start_server(served.handle, LOCAL, 0)

    server = loop.run_until_complete(start())
    served.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def build(policy):
        network = RecordingNetwork(served.port)
        return Downloader(policy, resolver=FakeResolver(), clock=FakeClock(), network=network)

    monkeypatch.setattr(retry_command, "Downloader", build)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def fail(folder, failures):
    with Store(folder, owner="run") as store:
        for url, reason in failures.items():
            store.claim(url)
            store.add_failure(url, reason)


def test_without_a_reason_the_reasons_are_listed(filled, capsys):
    assert retry("--store", filled) == 0
    assert "no address of" in capsys.readouterr().out
    fail(filled, {GOOD: "timeout", "http://other.example/b": "timeout", "http://down.example/c": "dns"})
    assert retry("--store", filled) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^timeout +2 +1$", shown, re.MULTILINE)
    assert re.search(r"^dns +1 +1$", shown, re.MULTILINE)


def test_what_fails_again_keeps_its_reason_and_what_comes_keeps_its_origin(filled, capsys, monkeypatch):
    with Store(filled) as store:
        query = store.add_query(store.runs()[0].id, 0, 1, "heron", engine="made up")
        store.add_results(query.id, [Result(0, GOOD, "https://gallery.example/a", title="A heron")])
    fail(filled, {GOOD: "timeout", "http://down.example/x": "dns", "http://site.example/kept": "robots"})
    with web({"site.example/a.png": [answer(status=404), answer(encoded(drawn(4)))]}, monkeypatch) as served:
        line = ("--store", filled, "--reason", "timeout,dns", "--contact", "me@here.example")
        assert retry(*line) == 0
        shown = capsys.readouterr().out
        assert "tried 2 addresses again: 0 images came" in shown
        assert re.search(r"^status +1$", shown, re.MULTILINE)
        assert retry("--store", filled, "--reason", "status", "--contact", "me@here.example") == 0
        assert "tried 1 addresses again: 1 images came" in capsys.readouterr().out
        assert not any("kept" in asked for asked, _ in served.requests)
    with Store(filled) as store:
        image = store.images()[-1]
        (source,) = store.sources(image.sha256)
        assert (source.url, source.page_url) == (GOOD, "https://gallery.example/a")
        assert (source.engine, source.query, source.title) == ("made up", "heron", "A heron")
        assert {failure.reason for failure in store.failures()} == {"connect", "robots"}
        assert store.database.rows("SELECT * FROM claims") == []


def test_versions_of_test_images_stay_out(filled, tmp_path, capsys, monkeypatch):
    (tmp_path / "test").mkdir()
    drawn(7).save(tmp_path / "test/7.png")
    fail(filled, {GOOD: "timeout"})
    with web({"site.example/a.png": answer(encoded(drawn(7).resize((60, 60))))}, monkeypatch):
        line = ("--store", filled, "--reason", "timeout", "--contact", "me@here.example")
        assert retry(*line, "--test-images", tmp_path / "test") == 0
    assert re.search(r"^leak +1$", capsys.readouterr().out, re.MULTILINE)
    with Store(filled) as store:
        assert len(store.images()) == 3


def test_local_addresses_are_read_from_their_data_set(filled, tmp_path, capsys):
    (tmp_path / "birds/heron").mkdir(parents=True)
    drawn(9).save(tmp_path / "birds/heron/9.png")
    name = CaptionEngine.open(tmp_path / "birds").name
    fail(filled, {f"local:{name}/0": "broken", f"local:{name}/1": "broken"})
    assert retry("--store", filled, "--reason", "broken") == 2
    assert (
        f"must be the data set of 2 local addresses that begin with local:{name}/, got none" in capsys.readouterr().err
    )
    assert retry("--store", filled, "--reason", "broken", "--engine-source", tmp_path / "birds") == 0
    assert "tried 2 addresses again: 1 images came" in capsys.readouterr().out
    with Store(filled) as store:
        assert Image.open(store.path(store.images()[-1].sha256)).tobytes() == drawn(9).tobytes()


def test_a_data_set_of_other_addresses_is_refused_and_reasons_stay(filled, tmp_path, capsys):
    fail(filled, {"local:birds/0": "broken", "local:birds/1": "timeout"})
    np.savez(tmp_path / "fish.npz", x=np.zeros((2, 8, 8, 3), np.uint8), captions=["a", "b"])
    assert retry("--store", filled, "--reason", "broken,timeout", "--engine-source", tmp_path / "fish.npz") == 2
    message = capsys.readouterr().err
    assert "2 local addresses that begin with local:birds/, got " in message
    assert "addresses begin with local:fish-" in message
    with Store(filled) as store:
        assert [(each.reason, each.retry) for each in store.failures()] == [("broken", False), ("timeout", False)]


def test_leaks_are_not_tried_again_without_test_images(filled, capsys):
    fail(filled, {GOOD: "leak"})
    assert retry("--store", filled, "--reason", "leak", "--contact", "me@here.example") == 2
    assert "--test-images must be given with --reason leak" in capsys.readouterr().err
    with Store(filled) as store:
        assert not store.failures()[0].retry


def test_a_strict_run_makes_its_retry_strict(filled, monkeypatch):
    with Store(filled) as store:
        store.add_run("strict", {"strict": True})
    fail(filled, {GOOD: "timeout"})
    policies = []
    with web({"site.example/a.png": answer(status=404)}, monkeypatch):
        build = retry_command.Downloader
        monkeypatch.setattr(retry_command, "Downloader", lambda policy: policies.append(policy) or build(policy))
        assert retry("--store", filled, "--reason", "timeout", "--contact", "me@here.example") == 0
    assert [policy.strict for policy in policies] == [True]


def test_addresses_of_the_web_need_a_contact(filled, capsys):
    fail(filled, {GOOD: "timeout"})
    assert retry("--store", filled, "--reason", "timeout") == 2
    assert "--contact must be a page or a mail address" in capsys.readouterr().err
    with Store(filled) as store:
        assert not store.failures()[0].retry


def test_an_interrupted_retry_gives_its_claims_back(filled, capsys, monkeypatch):
    fail(filled, {GOOD: "timeout"})

    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    with web({"site.example/a.png": answer(encoded(drawn(5)))}, monkeypatch):
        line = ("--store", filled, "--reason", "timeout", "--contact", "me@here.example")
        with monkeypatch.context() as patch:
            patch.setattr(fetching, "decode", interrupted)
            assert retry(*line) == 130
        assert "rerun to go on with the addresses that are left" in capsys.readouterr().err
        assert retry(*line) == 0
    assert "tried 1 addresses again: 1 images came" in capsys.readouterr().out


def test_hosts_take_turns():
    assert retry_command._by_turns(["http://a/1", "http://a/2", "http://b/1"]) == [
        "http://a/1",
        "http://b/1",
        "http://a/2",
    ]


@pytest.mark.parametrize("outcome", ["stored", "held", "broken"])
def test_an_address_that_another_process_is_at_or_was_is_left(outcome, filled):
    fail(filled, {GOOD: "timeout"})
    with Store(filled) as store, Store(filled, owner="other") as other:
        store.allow_retry(["timeout"])
        if outcome == "stored":
            other.add_image(Source(GOOD), encoded(drawn(8)), drawn(8))
        if outcome == "held":
            other.claim(GOOD)
        own = Fetching(store, LocalFetcher(CaptionEngine(["heron"])), Policy())
        assert asyncio.run(retry_command.fetch_again(store, GOOD, own)) == outcome


@pytest.mark.parametrize("kept", ["config.json", "store"])
def test_local_addresses_are_read_from_the_world_of_the_run(kept, tmp_path, capsys):
    if kept == "store":
        with Store(tmp_path) as store:
            store.add_run("food", to_record(Run(target="food")) | {"engine": "builtin"})
    else:
        (tmp_path / "config.json").write_text('{"world": "builtin", "target": "food", "engine": null}')
    fail(tmp_path, {"local:builtin/0": "broken"})
    assert retry("--store", tmp_path, "--reason", "broken") == 0
    assert "tried 1 addresses again: 1 images came" in capsys.readouterr().out
