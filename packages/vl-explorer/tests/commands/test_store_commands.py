"""The commands on a store from the command line: `forget`, `export`, `report`, `dashboard`, and what is refused."""

import json
import tarfile
import threading
from urllib.request import urlopen

import pytest
from explorer_store import url_of
from vl_core.data import open_dataset
from vl_explorer.cli import main
from vl_explorer.page import server
from vl_explorer.store.store import Store


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("named", ["url", "page", "hash"])
def test_what_was_taken_down_is_gone_and_stays_out(named, filled, capsys):
    with Store(filled) as store:
        image = store.images()[0]
    target = {"url": url_of(0), "page": "https://gallery.example/0", "hash": image.sha256.upper()}[named]
    assert run("forget", target, "https://never.example/seen.png", "--store", filled) == 0
    shown = capsys.readouterr().out
    assert f"{target}: 1 images and 1 results removed" in shown
    assert "https://never.example/seen.png: 0 images and 0 results removed" in shown
    assert "report.html, wall.png, exports and networks made before are not changed" in shown
    with Store(filled) as store:
        assert image.sha256 not in {left.sha256 for left in store.images()}
        assert len(store.images()) == 2
        assert store.claim(url_of(0)) == "blocked"
        assert store.claim("https://never.example/seen.png") == "blocked"
        assert store.faults(contents=True) == []


def test_one_wrong_target_among_others_removes_nothing(filled, capsys):
    assert run("forget", url_of(0), "heron", "--store", filled) == 2
    assert "must be a URL or 64 hexadecimal digits, got 'heron'" in capsys.readouterr().err
    with Store(filled) as store:
        assert len(store.images()) == 3


def test_unknown_licenses_are_refused_unless_told(filled, tmp_path, capsys):
    out = tmp_path / "out"
    line = ("export", "--store", filled, "--format", "folder", "--out", out)
    assert run(*line) == 2
    error = capsys.readouterr().err
    assert "--licenses must name the licenses of all images, 1 of 3 have others: unknown" in error
    assert "--leave-out" in error
    assert not out.exists()
    assert run(*line, "--leave-out") == 0
    shown = capsys.readouterr().out
    assert "left out 1 images" in shown
    assert f"wrote 2 images and manifest.jsonl to {out}" in shown
    assert run(*line, "--unknown-licenses") == 2
    assert "--out must be empty" in capsys.readouterr().err
    assert run(*line[:-1], tmp_path / "all", "--unknown-licenses") == 0
    lines = (tmp_path / "all/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line)["license"] for line in lines) == ["CC-BY-4.0", "CC-BY-4.0", "unknown"]


def test_the_best_images_of_a_run_are_those_of_the_largest_rewards(filled, tmp_path):
    assert run("export", "--store", filled, "--run", "herons", "--best", 1, "--out", tmp_path / "best") == 0
    with tarfile.open(tmp_path / "best/images-000000.tar") as shard:
        described = json.load(shard.extractfile(next(name for name in shard.getnames() if name.endswith(".json"))))
    assert described["url"] == url_of(1)
    assert described["author"] == "Ada"


def test_a_report_is_one_file(filled, tmp_path, capsys):
    assert run("report", "--store", filled, "--images", 1, "--out", tmp_path / "out") == 0
    assert f"wrote report.html to {tmp_path / 'out'}" in capsys.readouterr().out
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 1
    assert "herons" in page


def test_a_dashboard_is_served_until_it_is_interrupted(filled, monkeypatch, capsys):
    pages, opened = [], []

    def serve_once(server):
        client = threading.Thread(target=lambda: pages.append(urlopen(server.url).read().decode()))
        client.start()
        server.handle_request()
        client.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(server.Dashboard, "serve_forever", serve_once)
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run("dashboard", "--store", filled, "--browser") == 0
    shown = capsys.readouterr().out
    assert f"The page is at {opened[0]} (stop it with Ctrl-C)\nclosed\n" in shown
    assert "herons" in pages[0]


def test_parquet_files_are_data_sets(filled, tmp_path):
    line = ("export", "--store", filled, "--format", "parquet", "--leave-out", "--images-per-file", 1)
    assert run(*line, "--out", tmp_path / "out") == 0
    assert len(open_dataset(tmp_path / "out/images-000001.parquet")) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["forget"], "TARGETS must be at least one address or hash"),
        (["forget", "heron"], "must be a URL or 64 hexadecimal digits, got 'heron'"),
        (["export", "--licenses", "atribution"], "--licenses must hold classes"),
        (["export", "--run", "herons"], "--run must come with --best"),
        (["export", "--best", "1", "--run", "gulls"], "--run must be the name of a run of"),
        (["export", "--format", "zip"], "--format must be one of webdataset, parquet, folder, got 'zip'"),
        (["retry", "--reason", "boredom"], "--reason must be of blocked, broken,"),
        (["retry", "--contact", "me"], "--contact must be an http(s) page or a mail address, got 'me'"),
        (["retry", "--engine-source", "nowhere"], "--engine-source must be"),
        (["report", "--run", "gulls"], "--run must be the name of a run of"),
        (["dashboard", "--run", "gulls"], "--run must be the name of a run of"),
        (["dashboard", "--port", "65536"], "--port must be from 1 to 65535, got 65536"),
    ],
)
def test_what_cannot_work_is_refused(line, message, filled, capsys):
    assert run(*line, "--store", filled) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("line", [["forget", url_of(0)], ["export"], ["retry"], ["report"], ["dashboard"]])
def test_a_folder_without_a_store_is_refused_and_stays_as_it_is(line, tmp_path, capsys):
    assert run(*line, "--store", tmp_path) == 2
    assert "--store must be a folder with store.sqlite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
