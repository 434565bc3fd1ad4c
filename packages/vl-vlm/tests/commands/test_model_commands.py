"""`vl-vlm train`, `evaluate` and `compare` from the command line: files, resumption, and what is refused."""

import csv
import shutil

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor
from vl_vlm import DualEncoder, make_scenes, train_tokenizer, write_shards
from vl_vlm.cli import main
from vl_vlm.commands import compare as compare_command
from vl_vlm.commands import train as train_command

SMALL = [
    *("--updates", "4", "--batch-size", "8", "--image-size", "16", "--width", "32", "--depth", "1", "--dim", "16"),
    *("--vocabulary-size", "300"),
]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def width(path):
    with Image.open(path) as image:
        return image.width


def weights(out):
    return DualEncoder.from_pretrained(out / "model").state_dict()


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(train_command, "_TESTED", 3)
    monkeypatch.setattr(train_command, "_QUERIES", 7)


def test_scenes_are_learned_and_evaluated_and_a_second_run_changes_nothing(few, tmp_path, capsys):
    arguments = ["train", *SMALL, "--limit", "24", "--out", tmp_path / "run"]
    assert run(*arguments) == 0
    shown = capsys.readouterr().out
    assert "test" in shown
    assert "held_out" in shown
    found = rows(tmp_path / "run/results.csv")
    assert {row["model"] for row in found} == {"model", "blind", "constant"}
    assert width(tmp_path / "run/retrieval.png") > 500
    before = weights(tmp_path / "run")
    assert run(*arguments) == 0
    assert all(torch.equal(value, before[name]) for name, value in weights(tmp_path / "run").items())
    assert rows(tmp_path / "run/results.csv") == found
    assert run("train", *SMALL, "--limit", "23", "--out", tmp_path / "run") == 2


def test_shards_of_ones_own_are_trained_on_and_what_is_damaged_is_counted(tmp_path, capsys):
    write_shards(make_scenes(40, size=16), tmp_path / "shards", samples_per_shard=20, progress=False)
    last = max((tmp_path / "shards").glob("*.tar"))
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    arguments = ["train", "--captions", tmp_path / "shards", *SMALL, "--test-share", "0.3", "--out", tmp_path / "run"]
    assert run(*arguments) == 2
    assert last.name in capsys.readouterr().err
    assert run(*arguments, "--skip-broken") == 0
    said = capsys.readouterr()
    assert last.name in said.err
    assert {row["task"] for row in rows(tmp_path / "run/results.csv")} == {"retrieval"}
    assert "others kept from training" in said.out


def test_a_model_is_trained_further_in_parts_with_its_images_locked(tmp_path, capsys):
    write_shards(make_scenes(20, size=16), tmp_path / "shards", progress=False)
    arguments = ["train", "--captions", tmp_path / "shards", "--updates", "2", "--batch-size", "8", "--test-share", "0"]
    assert run(*arguments, *SMALL[4:], "--sub-batch", "3", "--out", tmp_path / "one") == 0
    assert "too few images were kept" in capsys.readouterr().err
    assert run(*arguments, "--recipe", "lit", "--model", tmp_path / "one/model", "--out", tmp_path / "two") == 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    changed = {name for name, value in one.items() if not torch.equal(value, two[name])}
    assert "logit_scale" in changed
    assert not any(name.startswith("towers.vision") for name in changed)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A model, evaluated on a few scenes."""
    out = tmp_path_factory.mktemp("evaluated")
    assert run("evaluate", "--limit", "6", "--samples", "20", "--out", out) == 0
    return out


def test_the_built_in_model_is_evaluated_on_every_factor(evaluated):
    found = rows(evaluated / "results.csv")
    assert len({row["task"] for row in found}) == 30
    color = next(row for row in found if (row["task"], row["metric"]) == ("test color", "top-1 accuracy"))
    assert float(color["value"]) > 0.5
    assert width(evaluated / "results.png") > 500


def test_a_folder_belongs_to_one_model(evaluated, tmp_path, capsys):
    shutil.copytree(evaluated, tmp_path / "copy")
    assert run("evaluate", "scenes-siglip", "--limit", "6", "--out", tmp_path / "copy") == 2
    assert "holds scores of 'scenes-clip" in capsys.readouterr().err


def test_two_evaluated_models_are_compared(evaluated, tmp_path, capsys):
    assert run("evaluate", "scenes-siglip", "--limit", "6", "--samples", "20", "--out", tmp_path / "other") == 0
    assert run("compare", evaluated, tmp_path / "other", "--samples", "50", "--out", tmp_path / "both") == 0
    assert "first: scenes-clip" in capsys.readouterr().out
    found = rows(tmp_path / "both/comparison.csv")
    assert {"task", "difference", "p_sign"} <= found[0].keys()
    assert width(tmp_path / "both/comparison.png") > 500
    assert run("compare", evaluated, evaluated, "--samples", "20", "--out", tmp_path / "same") == 0
    assert {float(row["difference"]) for row in rows(tmp_path / "same/comparison.csv")} == {0.0}


@pytest.mark.slow  # 60 tasks
def test_both_built_in_models_are_compared_without_arguments(tmp_path, monkeypatch):
    tasks = compare_command.scene_tasks
    monkeypatch.setattr(compare_command, "scene_tasks", lambda count, **how: tasks(4, **how))
    assert run("compare", "--out", tmp_path) == 0
    assert len({row["task"] for row in rows(tmp_path / "comparison.csv")}) == 30


def clip_folder(folder):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a photo of a shirt"], vocabulary_size=300, context_length=16)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = small | {
        "vocab_size": 300,
        "max_position_embeddings": 16,
        "eos_token_id": 3,
        "bos_token_id": 2,
        "pad_token_id": 0,
    }
    views = small | {"image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=words, vision_config=views, projection_dim=8)).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def test_a_clip_of_transformers_classifies_and_retrieves(tmp_path):
    model = clip_folder(tmp_path / "clip")
    options = ["--limit", "20", "--samples", "20"]
    assert (
        run("evaluate", model, "--task", "classification", "--data", "fashion", *options, "--out", tmp_path / "c") == 0
    )
    assert {row["metric"] for row in rows(tmp_path / "c/results.csv")} == {"top-1 accuracy", "top-5 accuracy"}
    assert run("evaluate", model, "--task", "retrieval", "--data", "emoji", *options, "--out", tmp_path / "r") == 0
    assert (tmp_path / "r/retrieval/items.parquet").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--recipe", "lit"], "--recipe lit needs --model"),
        (["train", "--recipe", "siglip"], "--recipe siglip needs --loss sigmoid"),
        (["train", "--captions", "/no/such"], "--captions"),
        (["train", "--captions", "fashion"], "--captions"),
        (["train", "--split", "test"], "--split must be left out for scenes"),
        (["train", "--image-size", "20"], "--image-size must be a multiple of 8"),
        (["train", "--width", "40"], "--width must be a multiple of 32"),
        (["train", "--updates", "5", "--warmup", "6"], "--warmup must be at most --updates"),
        (["train", "--recipe", "siglip", "--model", "scenes-clip"], "--recipe siglip needs --loss sigmoid"),
        (["train", "--model", "nope"], "no model 'nope'"),
        (["train", "--model", "scenes-clip", "--loss", "sigmoid"], "--loss is for a new model"),
        (["evaluate", "scenes-clp"], "did you mean scenes-clip?"),
        (["evaluate", "--task", "retrieval"], "--task retrieval needs --data"),
        (["evaluate", "--task", "winoground", "--data", "x"], "--task winoground needs --images"),
        (["evaluate", "--images", "."], "--images goes with"),
        (["evaluate", "--data", "emoji"], "--data goes with another --task"),
        (["evaluate", "--split", "val"], "--split must be train, test or held_out"),
        (["evaluate", "--task", "retrieval", "--data", "fashion"], "--data"),
        (["evaluate", "--templates", "a photo"], "--templates must each hold {}"),
        (["compare", "."], "must be two folders"),
        (["compare", ".", "."], "holds no result"),
    ],
)
def test_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
