"""`vl-attention ensemble`: correct counts for members and ensemble; weights are fitted on other images."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import tyro
from scipy.stats import binomtest
from vl_attention import Classifier, Ensemble, fit_weight
from vl_attention.classifiers.saved_models import load_classifier, save_classifier
from vl_attention.commands.ensemble import mcnemar_p, run
from vl_attention.commands.settings.ensemble import EnsembleModels
from vl_core.data import image_to_tensor, open_dataset
from vl_core.results import wilson_interval


@pytest.fixture
def settings(saved, images_folder, tmp_path):
    return EnsembleModels(
        models=(str(saved / "distilled"), str(saved / "unnamed")),
        images=str(images_folder),
        batch_size=7,
        device="cpu",
        out=tmp_path / "out",
    )


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tensors(path, split):
    found = open_dataset(path, split=split)
    return torch.stack([image_to_tensor(image) for image, _ in found]), torch.as_tensor(found.labels.copy())


def test_members_and_their_ensemble_are_counted(settings, saved, images_folder, capsys):
    run(settings)
    images, labels = tensors(images_folder, "test")
    members = [load_classifier(saved / name) for name in ("distilled", "unnamed")]
    with torch.no_grad():
        right = {
            "distilled": members[0](images).logits.argmax(-1) == labels,
            "unnamed": members[1](images).logits.argmax(-1) == labels,
            "ensemble": Ensemble([m.student for m in members], [m.student_normalization for m in members])(
                images
            ).argmax(-1)
            == labels,
        }
    rows = read(settings.out / "ensemble.csv")
    assert [row["member"] for row in rows] == list(right)
    assert [row["weight"] for row in rows] == ["0.5", "0.5", ""]
    for row in rows:
        correct = int(right[row["member"]].sum())
        assert (row["correct"], row["total"]) == (str(correct), "30")
        shares = [float(row[name]) for name in ("accuracy", "low", "high")]
        assert shares == pytest.approx([correct / 30, *wilson_interval(correct, 30)], rel=1e-4, abs=1e-6)
    pair, against = read(settings.out / "agreement.csv")
    better = max(("distilled", "unnamed"), key=lambda name: int(right[name].sum()))
    for row, first, second in ((pair, "distilled", "unnamed"), (against, "ensemble", better)):
        assert (row["first"], row["second"]) == (first, second)
        a, b = right[first], right[second]
        counts = [int(part.sum()) for part in (a & b, a & ~b, ~a & b, ~a & ~b)]
        assert [int(row[name]) for name in ("both", "only_first", "only_second", "neither")] == counts
        assert float(row["p"]) == pytest.approx(mcnemar_p(*counts[1:3]), rel=1e-4)
    printed = capsys.readouterr().out
    assert "McNemar's exact test" in printed
    counts = [int(right[name].sum()) for name in ("distilled", "unnamed")]
    assert counts[0] != counts[1]
    assert f"{better} is the more accurate member" in printed


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (0, 5), (9, 2), (700, 800)])
def test_p_is_that_of_the_exact_binomial_test(first, second):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p(first, second) == pytest.approx(expected)
    assert mcnemar_p(first, second) == mcnemar_p(second, first)


def test_logits_are_brought_into_one_order(settings, saved):
    # The members are one model, whose classes are named in two orders.
    run(replace(settings, models=(str(saved / "tuned"), str(saved / "unnamed"))))
    other = read(settings.out / "ensemble.csv")
    tuned, unnamed = (int(row["correct"]) for row in other[:2])
    run(replace(settings, models=(str(saved / "tuned"), str(saved / "distilled"))))
    again = read(settings.out / "ensemble.csv")
    assert int(again[0]["correct"]) == tuned != unnamed


def test_an_ensemble_of_a_model_and_its_renamed_self_is_itself(settings, saved, tmp_path, capsys):
    def save(name, change, classes=("bright", "gray", "dark")):
        model = load_classifier(saved / "tuned")
        with torch.no_grad():
            for parameter in model.student.head.parameters():
                parameter.copy_(change(parameter))
        save_classifier(model, tmp_path / name, classes=classes)
        return str(tmp_path / name)

    # Three models that call the classes differently, so that one is better than another.
    rolled = [save(f"rolled-{by}", lambda parameter, by=by: parameter.roll(by, 0)) for by in range(3)]
    run(replace(settings, models=tuple(rolled)))
    correct = {row["member"]: int(row["correct"]) for row in read(settings.out / "ensemble.csv")}
    worst, best = (pick(range(3), key=lambda by: correct[f"rolled-{by}"]) for pick in (min, max))
    assert correct[f"rolled-{worst}"] < correct[f"rolled-{best}"]
    # The same logits under the same names, stored in another order.
    flipped = save("flipped", lambda parameter: parameter.roll(best, 0).flip(0), ("dark", "gray", "bright"))
    run(replace(settings, models=(rolled[best], flipped)))
    rows = read(settings.out / "ensemble.csv")
    assert len({row["correct"] for row in rows}) == 1
    pair, against = read(settings.out / "agreement.csv")
    assert (pair["only_first"], pair["only_second"], against["p"]) == ("0", "0", "1")
    assert "both members are equally accurate, measured on these images" in capsys.readouterr().out
    run(replace(settings, models=(rolled[best], rolled[worst], flipped)))
    assert f"rolled-{best} and flipped are the most accurate members, equally accurate" in capsys.readouterr().out


def test_the_weight_is_fitted_on_the_training_split(settings, saved, images_folder, capsys):
    run(replace(settings, fit=24))
    images, labels = tensors(images_folder, "train")
    members = [load_classifier(saved / name) for name in ("distilled", "unnamed")]
    ensemble = Ensemble([m.student for m in members], [m.student_normalization for m in members])
    weight = fit_weight(ensemble, images, labels)
    rows = read(settings.out / "ensemble.csv")
    assert [row["member"] for row in rows] == ["distilled", "unnamed", "ensemble", "ensemble (fitted)"]
    assert [float(row["weight"]) for row in rows[:2]] == pytest.approx([weight, 1 - weight])
    images, labels = tensors(images_folder, "test")
    with torch.no_grad():
        assert rows[-1]["correct"] == str(int((ensemble(images).argmax(-1) == labels).sum()))
    assert len(read(settings.out / "agreement.csv")) == 3
    assert "weights fitted on 24 other images" in capsys.readouterr().out


@pytest.mark.parametrize("undivided", [True, False])
def test_images_that_choose_the_weight_are_not_measured(settings, images_folder, tmp_path, undivided):
    if undivided:
        with np.load(images_folder) as file:
            arrays = {name: file[name] for name in ("x", "y", "classes")}
        np.savez(tmp_path / "all.npz", **arrays)
        given, total = replace(settings, images=str(tmp_path / "all.npz")), 54
    else:
        given, total = replace(settings, split="train"), 24
    run(replace(given, fit=6))
    assert {row["total"] for row in read(settings.out / "ensemble.csv")} == {str(total - 6)}
    run(replace(given, fit=6, limit=9))
    assert {row["total"] for row in read(settings.out / "ensemble.csv")} == {"9"}
    with pytest.raises(ValueError, match=f"--fit must be less than {total} to leave images to evaluate"):
        run(replace(given, fit=total))


def test_three_members_of_different_sizes_and_channels(settings, saved, tmp_path):
    large = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2,
                              num_classes=3)  # fmt: skip
    save_classifier(Classifier(large), tmp_path / "large", classes=("gray", "dark", "bright"))
    models = (*settings.models, str(tmp_path / "large"), str(saved / "copied"))
    run(replace(settings, models=models, teacher=str(saved / "teacher"), limit=12))
    rows = read(settings.out / "ensemble.csv")
    assert [row["member"] for row in rows] == ["distilled", "unnamed", "large", "copied", "ensemble"]
    assert {row["total"] for row in rows} == {"12"}
    assert len(read(settings.out / "agreement.csv")) == 6 + 1


BAD = {
    "one model": ({"models": ("a",)}, ValueError, "models must be two or more"),
    "unknown model": ({"models": ("nowhere", "elsewhere")}, FileNotFoundError, "no model 'nowhere'"),
    "negative limit": ({"limit": -1}, ValueError, "--limit must be at least 1"),
    "negative fit": ({"fit": -1}, ValueError, "--fit must be at least 0"),
    "too many to fit": ({"fit": 25}, ValueError, "--fit must be at most 24"),
    "no such split": ({"fit": 5, "fit_split": "later"}, ValueError, "split must be one of"),
    "batch": ({"batch_size": 0}, ValueError, "--batch-size must be at least 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_written(case, settings):
    change, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        run(replace(settings, **change))
    assert not settings.out.exists()


def test_members_must_have_the_same_classes(settings, saved, tmp_path):
    names = ("dark", "gray", "bright", "black")
    save_classifier(load_classifier(saved / "four"), tmp_path / "more", classes=names)
    for other, message in [
        (saved / "four", "tells apart 4 classes"),
        (tmp_path / "more", "must have the same classes, and distilled and more differ"),
        (saved / "teacher", "no classifier"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(replace(settings, models=(settings.models[0], str(other))))
    with pytest.raises(ValueError, match="--fit needs exactly two models, got 3"):
        run(replace(settings, models=(*settings.models, str(saved / "tuned")), fit=3))


def test_the_command_line_has_positional_models():
    found = tyro.cli(EnsembleModels, args=["a", "b", "c", "--fit", "10"])
    assert (found.models, found.fit, found.images) == (("a", "b", "c"), 10, "fashion")
    assert tyro.cli(EnsembleModels, args=[]) == EnsembleModels()
