"""`vl-explorer run` from the command line: the loop on a tiny web, what it says before, and what is refused."""

import json
import re
import shutil
import warnings

import numpy as np
import pytest
from explorer_store import drawn, offer, url_of
from PIL import Image
from vl_explorer.cli import main
from vl_explorer.commands import _run_inputs, _run_results
from vl_explorer.commands._run_parts import build_acquisition, build_learner, build_model
from vl_explorer.commands.settings.run import LOCAL, TARGETS, Engine, Run
from vl_explorer.commands.settings.run_inputs import ENCODERS
from vl_explorer.models.nearest import NearestModel
from vl_explorer.rewards.start import START_ENCODERS
from vl_explorer.search.registry import ENGINE_NAMES
from vl_explorer.store.rows import Result
from vl_explorer.store.store import Store
from vl_explorer.worlds.opening import WORLDS
from vl_ssl.backbones.building import small_resnet
from vl_ssl.backbones.saving import save_backbone

SMALL = ["--iterations", "2", "--queries", "3", "--results", "3", "--start-encoder", "pixels", "--learner", "none"]


def run(*arguments):
    return main(["run", *map(str, arguments)])


@pytest.fixture(autouse=True)
def _plain_figures(monkeypatch):
    """No figures, which take longer than these runs."""
    for name in ("draw_progress", "draw_wall"):
        monkeypatch.setattr(_run_results, name, lambda path, *_, **__: Image.new("L", (1, 1)).save(path))


def make_images(folder, color, count):
    """Images of one hue with noise, by class."""
    folder.mkdir(parents=True)
    for number in range(count):
        noise = np.asarray(drawn(100 * len(folder.name) + number, 24), np.float64)
        pixels = 0.7 * np.array(color) + 0.3 * noise
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Arguments of a task on a web of three words, with images of its own."""
    monkeypatch.chdir(tmp_path)
    for name, color in {"heron": (200, 40, 40), "harbor": (40, 200, 40), "treaty": (40, 40, 200)}.items():
        make_images(tmp_path / "web" / name, color, 4)
    make_images(tmp_path / "own", (200, 40, 40), 16)
    (tmp_path / "words.txt").write_text("heron\nharbor\ntreaty\nxyzzy\n")
    return ["--images", "own", "--engine", "captions", "--engine-source", "web", "--vocabulary", "words.txt", *SMALL]


def test_the_loop_finds_scores_and_writes_and_a_rerun_changes_nothing(task, tmp_path, capsys):
    assert run(*task, "--out", "found") == 0
    shown = capsys.readouterr().out
    assert "own: 16 target images; 3 concepts; web" in shown
    assert re.search(r"^0 +-?\d\.\d{3} ", shown, re.MULTILINE)
    result = json.loads((tmp_path / "found/result.json").read_text(encoding="utf-8"))
    assert [summary["new"] for summary in result["iterations"]] == [9]
    assert {"report.html", "progress.png", "wall.png"} <= {path.name for path in (tmp_path / "found").iterdir()}
    with Store(tmp_path / "found") as store:
        assert [each.name for each in store.runs()] == ["found"]
        rewards = {query.text: value for query, value in concept_rewards(store, result)}
        assert max(rewards, key=rewards.get) == "heron"
        before = store.content()
    assert run(*task, "--out", "found") == 0
    with Store(tmp_path / "found") as store:
        assert store.content() == before
    capsys.readouterr()
    assert run(*task, "--out", "found", "--seed", 1) == 2
    assert "seed (0 in the folder, now 1)" in capsys.readouterr().err


def concept_rewards(store, result):
    queries = store.queries(store.runs()[0].id, 0)
    return zip(queries, result["iterations"][0]["concept_rewards"], strict=True)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(task, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert run(*task, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^web-\w{8}: free; 12 results a request", shown, re.MULTILINE)
    assert "at most 6 searches for 3 images each, which are 18 images" in shown
    assert re.search(r"AUROC \d\.\d\d \(\d\.\d\d to \d\.\d\d\), 16 target images against 12 of the web \(web-", shown)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_a_service_says_its_price_and_asks_nothing(task, monkeypatch, capsys):
    monkeypatch.setenv("SERPAPI_API_KEY", "made-up-key-of-nobody")
    own = [*task[:2], *task[6:], "--engine", "serpapi", "--contact", "me@here.example", "--max-cost", "0.01"]
    assert run(*own, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^serpapi: \$[\d.]+ a request", shown, re.MULTILINE)
    assert re.search(r"18 images; about 6 requests, \$0\.\d\d, ", shown)
    assert "the budget of --max-requests or --max-cost ends this sooner" in shown
    assert "the web that ships, since nothing of the other was asked for yet" in shown
    assert "made-up-key" not in shown


def test_a_budget_that_is_spent_ends_the_run_with_what_was_found(task, tmp_path, capsys):
    own = [*task[:2], *task[6:], "--engine", "openverse", "--contact", "me@here.example", "--max-requests", "0"]
    assert run(*own, "--out", "found") == 1
    assert "stopped: openverse: 0 of 0 requests are spent" in capsys.readouterr().out
    assert json.loads((tmp_path / "found/result.json").read_text(encoding="utf-8"))["iterations"] == []
    with Store(tmp_path / "found") as store:
        store.add_results(store.queries(store.runs()[0].id)[0].id, (), requests=3)
    assert run(*own[:-1], "3", "--out", "found") == 1
    assert "3 of 3 requests are spent" in capsys.readouterr().out


def test_test_images_stay_out_and_runs_share_a_store(task, tmp_path, capsys):
    line = [*task, "--store", "shared", "--quota", "1"]
    assert run(*line, "--out", "first", "--test-images", "web/heron") == 0
    assert "3 of 9 images kept out as versions of 3 of 4 guarded test images" in capsys.readouterr().out
    assert run(*line, "--out", "second", "--concept-model", "random", "--name", "again") == 0
    with Store(tmp_path / "shared") as store:
        assert [each.name for each in store.runs()] == ["first", "again"]


def test_retry_takes_guard_and_data_set_over_from_a_run_with_a_store_of_its_own(task, tmp_path, monkeypatch, capsys):
    shutil.copytree(tmp_path / "web/heron", tmp_path / "test")
    assert run(*task, "--store", "shared", "--out", "first", "--test-images", "test", "--strict") == 0
    with Store(tmp_path / "shared") as store:
        kept = {key: store.runs()[0].settings[key] for key in ("test_images", "strict", "world", "engine_source")}
        leaked = [failure.url for failure in store.failures(["leak"])]
    paths = {"test_images": str(tmp_path / "test"), "engine_source": str(tmp_path / "web")}
    assert kept == {**paths, "strict": True, "world": None}
    monkeypatch.chdir(tmp_path.parent)
    capsys.readouterr()
    assert main(["retry", "--store", str(tmp_path / "shared"), "--reason", "leak"]) == 0
    assert f"tried {len(leaked)} addresses again: 0 images came" in capsys.readouterr().out
    (tmp_path / "test").rename(tmp_path / "moved")
    line = ["retry", "--store", str(tmp_path / "shared"), "--reason", "leak"]
    assert main(line) == 2
    assert "--test-images must be given, since those of the run cannot be opened" in capsys.readouterr().err
    with Store(tmp_path / "shared") as store:
        assert [failure.url for failure in store.failures(["leak"]) if not failure.retry] == leaked != []


def test_relevant_images_of_an_iteration_are_counted_by_their_addresses(tmp_path):
    with Store(tmp_path) as store:
        run_id = store.add_run("run").id
        for number in range(2):
            store.add_iteration(run_id, number)
            query = store.add_query(run_id, number, 0, "heron")
            store.add_results(query.id, [Result(rank, url_of(rank + number)) for rank in range(3)])
        for number in range(3):
            offer(store, number)
        assert _run_results.relevant_shares(store, run_id, {url_of(1), url_of(3)}) == [1 / 3, 1 / 2]
        assert _run_results.relevant_shares(store, run_id, set()) == []


@pytest.mark.parametrize("options", [("--dry-run",), ("--out", "found")])
def test_a_target_image_that_cannot_be_read_is_named_before_anything_is_written(options, task, tmp_path, capsys):
    (tmp_path / "own/3.png").write_bytes((tmp_path / "own/3.png").read_bytes()[:200])
    before = sorted(tmp_path.rglob("*"))
    assert run(*task, *options) == 2
    assert "3.png" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_warning_is_one_line(task, tmp_path, capsys):
    make_images(tmp_path / "few", (200, 40, 40), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("--images", "few", *task[2:], "--out", "found") == 0
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if "warning" in line.lower()]
    assert line.startswith("vl-explorer: warning: target has 3 images, fewer than neighbors=")


def test_the_home_folder_may_be_given_as_a_tilde(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(*task, "--engine-source", "~/web", "--dry-run") == 0
    described = {"name": "museum", "address": "https://api.museum.example/", "parameters": {"q": "{query}"}}
    described |= {"results": "items", "fields": {"url": "image"}}
    (tmp_path / "museum.json").write_text(json.dumps(described))
    line = ["--engine", "json", "--engine-source", "~/museum.json", "--contact", "me@here.example", "--dry-run"]
    assert run(*task, *line) == 0
    assert "museum: " in capsys.readouterr().out
    settings = Run(start_encoder="~/encoder", learner="none")
    save_backbone(small_resnet(8, "10", channels=3), tmp_path / "encoder")
    settings.check_input()
    assert build_learner(settings).encoder().name == str(tmp_path / "encoder")


def test_licenses_that_are_not_allowed_are_not_downloaded(task, tmp_path):
    assert run(*task, "--licenses", "attribution", "--out", "found") == 0
    with Store(tmp_path / "found") as store:
        assert store.images() == []


@pytest.mark.parametrize("acquisition", ["mean-plus-std", "upper-bound", "thompson", "diverse", "greedy"])
@pytest.mark.parametrize("model", ["gp", "linear", "nearest", "random"])
def test_every_model_and_acquisition_scores_the_concepts(model, acquisition, monkeypatch):
    settings = Run(concept_model=model, acquisition=acquisition, images="own", engine="captions", labels=("heron",))
    inputs = type("", (), {"vocabulary": _run_inputs.Vocabulary.of(["heron", "treaty"]), "names": ("heron",)})
    built = build_model(settings, inputs)
    scores = build_acquisition(settings)(built, np.random.default_rng(0))
    assert scores.shape == (2,)
    assert (np.ptp(scores) == 0) or model != "random"
    assert isinstance(built, NearestModel) == (model == "nearest")


def test_labels_keep_the_concepts_near_to_them(tmp_path):
    (tmp_path / "names.txt").write_text("violin\n\nflute\n")
    settings = Run(images="own", engine="captions", labels=(f"@{tmp_path / 'names.txt'}", "piano"))
    assert settings.label_names == ("violin", "flute", "piano")
    near = [concept.name for concept in _run_inputs._vocabulary(settings, None)]
    assert "cello" in near
    assert "treaty" not in near


def test_names_are_those_of_the_parts():
    assert set(ENCODERS) == set(START_ENCODERS)
    assert set(Engine.__args__) == set(ENGINE_NAMES)
    assert LOCAL in ENGINE_NAMES
    assert {name: tasks for name, (_, tasks) in WORLDS.items()} == dict(TARGETS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--iterations 0", "--iterations must be at least 1, got 0"),
        ("--world full --target travel", "--target must be one of animals, vehicles, food in --world full, got travel"),
        ("--target food --images own", "--target is for images that come with a world"),
        ("--images own --world full --engine captions", "--world must not be given with --engine, got full"),
        ("--engine captions", "--engine captions needs --engine-source, a data set, got none"),
        ("--engine-source web", "--engine-source is for --engine captions, url-list, json, got none"),
        ("--engine openverse", "--contact must be a page or a mail address"),
        ("--engine brave --contact me@here.example", "set the environment variable BRAVE_API_KEY to your key"),
        ("--engine bing", "--engine must be one of captions, openverse,"),
        ("--engine captions --engine-source nowhere", "--engine-source must be"),
        (
            "--engine url-list --engine-source no.parquet --contact a@b.example",
            "must be a Parquet file",
        ),
        ("--engine json --engine-source no.json --contact a@b.example", "--engine-source must be a JSON description"),
        ("--engine json --engine-source bad.json --contact a@b.example", "must have 'name'"),
        ("--vocabulary nouns", "--vocabulary must be glove, wordnet or a file, got nouns"),
        ("--labels a a", "--labels must be different names, got 'a', 'a'"),
        ("--labels @nowhere", "--labels must be names or @FILE, got @nowhere"),
        ("--licenses free", "--licenses must hold classes"),
        ("--concept-model random --acquisition greedy", "--acquisition must be for other models"),
        ("--concept-model nearest --images own --engine captions --engine-source own", "needs --labels"),
        ("--start-encoder nowhere", "--start-encoder must be distilled, imagenet, random, pixels or a folder"),
        ("--start-encoder .", "--start-encoder must be a folder with config.json and model.safetensors"),
        ("--start-encoder pixels", "--start-encoder pixels has no network to be trained; give --learner none"),
        ("--learner none --scored-by learner", "--scored-by learner is for --learner moco-v3, got none"),
        ("--learner none --updates 3", "--updates is for --learner moco-v3, got 3 with none"),
        ("--contact a\x1b[31m@b.example", "--contact must be an http(s) page or a mail address, got 'a\\x1b"),
        ("--max-cost -1", "--max-cost must be finite and at least 0, got -1"),
        ("--quota inf", "--quota must be finite and above 0, got inf"),
        ("--vocabulary latin.txt", "latin.txt must be UTF-8 text, byte 3 is not"),
        ("--vocabulary empty.txt", "empty.txt: concepts must be at least one, got none"),
        ("--labels @latin.txt", "--labels must be names or @FILE, got @latin.txt, whose byte 3 is not UTF-8"),
        (
            "--images own --labels pizza xyzzyq --concept-model nearest",
            "--labels must be known words with --concept-model nearest, got xyzzyq;",
        ),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_written(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    (tmp_path / "own").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "own/0.png")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "latin.txt").write_bytes("café\n".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("\n")
    before = sorted(tmp_path.rglob("*"))
    assert run(*line.split()) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
