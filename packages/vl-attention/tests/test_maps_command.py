"""`vl-attention maps`: maps side by side, and their similarity."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import tyro
from PIL import Image
from vl_attention import Normalization, map_similarity
from vl_attention.classifiers.saved_models import load_model, save_model
from vl_attention.commands import maps
from vl_attention.commands.maps import run
from vl_attention.commands.settings.maps import Maps
from vl_core.data import image_to_tensor, open_dataset


@pytest.fixture
def settings(saved, images_folder, tmp_path):
    return Maps(
        models=tuple(str(saved / name) for name in ("teacher", "distilled", "tuned")),
        images=str(images_folder),
        count=4,
        limit=None,
        batch_size=7,
        device="cpu",
        out=tmp_path / "out",
    )


@pytest.fixture
def drawn(monkeypatch):
    """Arguments that `draw_attention` was given."""
    given = {}
    draw = maps.draw_attention

    def watched(path, images, maps, **options):
        given.update(options, images=images, maps=maps)
        draw(path, images, maps, **options)

    monkeypatch.setattr(maps, "draw_attention", watched)
    return given


def read(settings):
    with (settings.out / "similarity.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def another(folder, **options):
    size = {"img_size": 12, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0, **options}
    save_model(timm.create_model("vit_tiny_patch16_224", **size), folder)
    return str(folder)


def test_every_pair_is_compared_and_drawn(settings, saved, images_folder, drawn, capsys):
    run(settings)
    test = open_dataset(images_folder, split="test")
    images = torch.stack([image_to_tensor(image) for image, _ in test])
    models = {name: load_model(saved / name) for name in ("teacher", "distilled", "tuned")}
    expected = map_similarity(models, images)
    rows = read(settings)
    assert len(rows) == len(expected) == 3 * 2 * 2
    for row, wanted in zip(rows, expected, strict=True):
        assert (row["first"], row["second"]) == (wanted.first, wanted.second)
        places = wanted.first_layer, wanted.second_layer, wanted.head, 30
        assert tuple(int(row[name]) for name in ("first_layer", "second_layer", "head", "images")) == places
        assert float(row["divergence"]) == pytest.approx(wanted.divergence, rel=1e-4)
    for name in ("maps", "layers", "heads"):
        with Image.open(settings.out / f"{name}.png") as chart:
            assert chart.format == "PNG"
    assert list(drawn["maps"]) == ["teacher", "distilled", "tuned"]
    assert drawn["maps"]["tuned"].shape == (4, 2, 3, 3)
    # One of each class, and a second one of some class.
    assert sorted(set(drawn["labels"])) == ["bright", "dark", "gray"]
    assert len(drawn["labels"]) == 4
    printed = capsys.readouterr().out
    mean = np.mean([row.divergence for row in expected if (row.first, row.first_layer) == ("distilled", 1)])
    assert f" {mean:#.3g}" in next(line for line in printed.splitlines() if line.startswith("distilled, tuned"))


def test_layer_head_and_limit_are_taken(settings, drawn):
    run(replace(settings, layer=0, head=1, limit=9))
    assert (drawn["head"], drawn["title"]) == (1, "layer 0, head 1")
    assert {row["images"] for row in read(settings)} == {"9"}


def test_the_same_images_are_drawn_each_time(settings, drawn):
    run(settings)
    first = drawn["images"]
    run(settings)
    assert torch.equal(drawn["images"], first)


def test_one_model_is_drawn_and_not_compared(settings, capsys):
    run(replace(settings, models=settings.models[:1]))
    assert [path.name for path in settings.out.iterdir()] == ["maps.png"]
    assert "no two models to compare" in capsys.readouterr().out


def test_small_divergences_are_not_rounded_to_zero(settings, saved, tmp_path, capsys):
    model = load_model(saved / "teacher")
    with torch.no_grad():
        model.blocks[0].attn.qkv.weight.mul_(1 + 1e-3)
    save_model(model, tmp_path / "near", normalization=Normalization((0.5,), (0.5,)))
    run(replace(settings, models=(settings.models[0], str(tmp_path / "near"))))
    values = capsys.readouterr().out.splitlines()[-2].split()[-2:]
    assert all(0 < float(value) < 5e-4 for value in values)


@pytest.mark.parametrize("alone", [True, False])
def test_figures_of_other_models_do_not_stay_beside_new_maps(settings, tmp_path, alone):
    run(settings)
    before = (settings.out / "maps.png").read_bytes()
    fine = another(tmp_path / "fine", img_size=12, patch_size=2, in_chans=1)
    models = settings.models[:1] if alone else (settings.models[0], fine)
    with pytest.raises(ValueError, match=r"holds layers\.png, heads\.png, similarity\.csv of other models.* --out"):
        run(replace(settings, models=models))
    assert (settings.out / "maps.png").read_bytes() == before


def test_models_of_other_sizes_and_channels_get_matching_images(settings, tmp_path, drawn):
    # Three by three patches, as the others have, of a larger image in color.
    large = another(tmp_path / "large", img_size=24, patch_size=8)
    run(replace(settings, models=(*settings.models[:2], large)))
    assert drawn["images"].shape == (4, 1, 24, 24)
    assert {(row["first"], row["second"]) for row in read(settings)} == {
        ("teacher", "distilled"),
        ("teacher", "large"),
        ("distilled", "large"),
    }


def test_other_grids_are_drawn_and_not_compared(settings, tmp_path, drawn, capsys):
    fine = another(tmp_path / "fine", img_size=12, patch_size=2, in_chans=1)
    run(replace(settings, models=(*settings.models[:2], fine)))
    assert drawn["maps"]["fine"].shape == (4, 2, 6, 6)
    assert {(row["first"], row["second"]) for row in read(settings)} == {("teacher", "distilled")}
    assert "teacher and fine divide images into 3x3 and 6x6 patches" in capsys.readouterr().err


def test_images_need_no_labels(settings, tmp_path, drawn):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 12), np.uint8)
    np.savez(tmp_path / "plain.npz", x=pixels)
    run(replace(settings, images=str(tmp_path / "plain.npz"), count=9))
    assert drawn["labels"] is None
    assert len(drawn["images"]) == 5


BAD = {
    "unknown model": ({"models": ("nowhere",)}, FileNotFoundError, "no model 'nowhere'"),
    "no model": ({"models": ()}, ValueError, "models must name at least one"),
    "negative limit": ({"limit": -1}, ValueError, "--limit must be at least 1"),
    "no count": ({"count": 0}, ValueError, "--count must be at least 1"),
    "layer": ({"layer": 2}, ValueError, "teacher: layers must be whole numbers from -2 to 1"),
    "head": ({"head": 2}, ValueError, "--head must be from 0 to 1, the heads of teacher"),
    "images": ({"images": "nowhere"}, ValueError, "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_written(case, settings):
    change, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        run(replace(settings, **change))
    assert not settings.out.exists()


def test_a_student_that_copies_has_no_maps(settings, saved):
    with pytest.raises(ValueError, match=r"copied .*mode='copy'.* pass its teacher instead"):
        run(replace(settings, models=(*settings.models, str(saved / "copied"))))


def test_the_command_line_has_positional_models():
    found = tyro.cli(Maps, args=["a", "b", "--layer", "3", "--head", "1"])
    assert (found.models, found.layer, found.head) == (("a", "b"), 3, 1)
    assert tyro.cli(Maps, args=[]) == Maps()


def test_each_models_own_images_are_compared(saved):
    images = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    models = {name: load_model(saved / name) for name in ("teacher", "tuned")}
    shared = map_similarity(models, images, batch_size=2)
    assert map_similarity(models, {"teacher": images, "tuned": images}, batch_size=3) == [
        replace(row, divergence=pytest.approx(row.divergence)) for row in shared
    ]
    other = map_similarity(models, {"teacher": images, "tuned": 1 - images})
    assert [row.divergence for row in other] != pytest.approx([row.divergence for row in shared], rel=1e-3)
    for given in ({"teacher": images}, {"teacher": images, "tuned": images[:3]}):
        with pytest.raises(ValueError, match="the same number of images for each model"):
            map_similarity(models, given)
    assert Normalization.of(models["teacher"]) == Normalization((0.5,), (0.5,))
