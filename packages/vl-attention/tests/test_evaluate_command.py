"""`vl-attention evaluate`: correct results, computed once; invalid input is refused."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import tyro
from PIL import Image
from vl_attention import Classifier
from vl_attention.analysis.shift_accuracy import evaluate_shifts
from vl_attention.classifiers.saved_models import load_classifier, save_classifier
from vl_attention.commands import evaluate
from vl_attention.commands._models import load_classifiers, load_models
from vl_attention.commands.evaluate import run
from vl_attention.commands.settings.evaluate import Evaluate
from vl_attention.models.folders import unique_names
from vl_core.corruptions import SHIFTS
from vl_core.data import image_to_tensor, open_dataset
from vl_core.results import wilson_interval


@pytest.fixture
def settings(saved, images_folder, tmp_path):
    """Two models, one of which names its classes in another order, under two shifts."""
    return Evaluate(
        models=(str(saved / "distilled"), str(saved / "tuned")),
        images=(str(images_folder),),
        shifts=("rotation", "gaussian_noise"),
        severities=(2, 5),
        limit=None,
        batch_size=7,
        seed=3,
        device="cpu",
        out=tmp_path / "out",
    )


def rows(settings):
    with (settings.out / "evaluate.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def counted(settings):
    return {(row["model"], row["images"], row["shift"], row["severity"]): row["correct"] for row in rows(settings)}


def nothing_computed(patch):
    patch.setattr(evaluate, "evaluate_shifts", lambda *given, **named: pytest.fail("something was computed"))


def test_results_equal_the_predictions_of_each_model(settings, saved, images_folder, capsys):
    run(settings)
    test = open_dataset(images_folder, split="test")
    images = torch.stack([image_to_tensor(test[index][0]) for index in range(len(test))])
    found = rows(settings)
    assert len(found) == 2 * 5
    for name in ("distilled", "tuned"):
        model = load_classifier(saved / name)
        labels = torch.as_tensor(test.labels.copy())
        if name == "tuned":
            labels = 2 - labels
        shifts = {kind: SHIFTS[kind] for kind in ("rotation", "gaussian noise")}
        expected = evaluate_shifts(model, images, labels, shifts, [0, 2, 5], seed=3)
        by_cell = {(row.shift if row.severity else "none", row.severity): row.correct for row in expected}
        own = [row for row in found if row["model"] == name]
        assert {(row["shift"], int(row["severity"])): int(row["correct"]) for row in own} == by_cell
    for row in found:
        correct, total = int(row["correct"]), int(row["total"])
        assert total == 30
        shares = [float(row[name]) for name in ("accuracy", "low", "high")]
        assert shares == pytest.approx([correct / total, *wilson_interval(correct, total)], rel=1e-4)
    assert len({row["correct"] for row in found}) > 3
    with Image.open(settings.out / "evaluate.png") as chart:
        assert chart.format == "PNG"
    printed = capsys.readouterr().out
    first = found[0]
    assert f"{first['correct']} of 30" in printed
    assert "gaussian noise" in printed


def test_a_student_that_copies_is_evaluated_with_its_teacher(settings, saved, capsys):
    copied = replace(settings, models=(str(saved / "copied"),), shifts=("none",))
    with pytest.raises(ValueError, match="needs its teacher") as caught:
        run(copied)
    assert caught.value.__notes__ == ["pass it with --teacher"]
    assert not settings.out.exists()
    run(replace(copied, teacher=str(saved / "teacher")))
    (row,) = rows(settings)
    assert (row["model"], row["shift"], row["total"]) == ("copied", "none", "30")


def test_finished_results_are_not_computed_again(settings, monkeypatch, capsys):
    run(settings)
    before, table = (settings.out / "evaluate.csv").read_bytes(), capsys.readouterr().out
    nothing_computed(monkeypatch)
    # Neither the batch size nor fewer rows change the results.
    run(replace(settings, batch_size=30))
    found = capsys.readouterr()
    assert found.out == table
    assert "10 of 10 results are already in" in found.err
    run(replace(settings, models=settings.models[:1], severities=(5,)))
    assert (settings.out / "evaluate.csv").read_bytes() == before


def test_an_interrupted_command_resumes_to_the_same_results(settings, monkeypatch, tmp_path):
    whole = replace(settings, out=tmp_path / "whole")
    run(whole)
    calls = []

    def interrupted(*given, **named):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return evaluate_shifts(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate_shifts", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(settings)
    assert caught.value.__notes__ == [f"3 of 10 results are kept in {settings.out}"]
    assert len(rows(settings)) == 3
    run(settings)
    assert (settings.out / "evaluate.csv").read_bytes() == (whole.out / "evaluate.csv").read_bytes()


def test_more_models_sets_and_shifts_can_be_added(settings, saved, images_folder, tmp_path, monkeypatch):
    run(replace(settings, models=settings.models[:1], shifts=("rotation",)))
    before = counted(settings)
    other = shutil.copy(images_folder, tmp_path / "other.npz")
    made = []

    def watched(*given, **named):
        made.append(given)
        return evaluate_shifts(*given, **named)

    monkeypatch.setattr(evaluate, "evaluate_shifts", watched)
    run(replace(settings, images=(*settings.images, str(other)), severities=(2, 5, 4)))
    after = counted(settings)
    assert len(before) == 3
    assert len(made) == 2 * 2 * 7 - 3
    assert before.items() <= after.items()
    # Equal images in two sets give equal results.
    for (model, images, *cell), correct in after.items():
        assert images == "shades.npz" or correct == after[model, "shades.npz", *cell]


@pytest.mark.parametrize("change", [{"limit": 9}, {"seed": 4}, {"split": "train"}])
def test_another_configuration_in_the_folder_is_refused(settings, change):
    run(replace(settings, shifts=("none",)))
    before = (settings.out / "evaluate.csv").read_bytes()
    with pytest.raises(ValueError, match=rf"another configuration: {next(iter(change))}"):
        run(replace(settings, shifts=("none",), **change))
    assert (settings.out / "evaluate.csv").read_bytes() == before


def test_another_model_or_set_of_the_same_name_is_refused(settings, saved, images_folder, tmp_path):
    model = shutil.copytree(saved / "distilled", tmp_path / "distilled")
    plain = replace(settings, models=(str(model),), shifts=("none",))
    run(plain)
    # The same model from elsewhere.
    run(replace(plain, models=(str(saved / "distilled"),)))
    shutil.copy(saved / "tuned" / "model.safetensors", model / "model.safetensors")
    with pytest.raises(ValueError, match="results of other models named 'distilled'"):
        run(plain)
    (tmp_path / "elsewhere").mkdir()
    other = shutil.copy(images_folder, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"results of other images named 'shades\.npz'"):
        run(replace(plain, models=(str(saved / "distilled"),), images=(str(other),)))


def test_the_limit_takes_all_classes_in_proportion(settings, images_folder):
    run(replace(settings, shifts=("none",), limit=12))
    assert [row["total"] for row in rows(settings)] == ["12", "12"]


def test_images_without_a_label_are_left_out_and_counted(settings, tmp_path, capsys):
    np.savez(tmp_path / "some.npz", x=np.zeros((4, 12, 12), np.uint8), y=np.array([0, -1, 2, 1]),
             classes=np.array(["dark", "gray", "bright"]))  # fmt: skip
    run(replace(settings, images=(str(tmp_path / "some.npz"),), shifts=("none",)))
    assert "some.npz have no label and are left out" in capsys.readouterr().err
    assert {row["total"] for row in rows(settings)} == {"3"}


def test_a_set_may_lack_classes_but_have_no_others(settings, tmp_path):
    path, x = tmp_path / "few.npz", np.full((6, 12, 12), 200, np.uint8)
    np.savez(path, x=x, y=np.arange(6) % 2, classes=np.array(["gray", "bright"]))
    run(replace(settings, images=(str(path),), shifts=("none",)))
    model = load_classifier(settings.models[1])
    with torch.no_grad():
        guess = ("bright", "gray", "dark")[int(model(torch.full((1, 1, 12, 12), 200 / 255)).logits.argmax())]
    assert rows(settings)[1]["correct"] == ("0" if guess == "dark" else "3")
    np.savez(path, x=x, y=np.arange(6) % 2, classes=np.array(["gray", "black"]))
    with pytest.raises(ValueError, match=r"few\.npz has 'black', which distilled does not know \(it knows dark, "):
        run(replace(settings, images=(str(path),)))


def test_models_without_names_take_the_sets_order(settings, saved, tmp_path):
    run(replace(settings, models=(str(saved / "unnamed"),), shifts=("none",)))
    with pytest.raises(ValueError, match=r"four tells apart 4 classes, .* and .*shades\.npz has 3;"):
        run(replace(settings, models=(str(saved / "four"),), out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


BAD = {
    "unknown model": ({"models": ("nowhere",)}, FileNotFoundError, "no model 'nowhere'"),
    "no model": ({"models": ()}, ValueError, "models must name at least one"),
    "no images": ({"images": ()}, ValueError, "--images must name at least one"),
    "unknown shift": ({"shifts": ("rotation", "fog")}, ValueError, "--shifts must be among gaussian_noise, .* 'fog'"),
    "none and others": ({"shifts": ("none", "rotation")}, ValueError, "none goes with no other"),
    "severity": ({"severities": (6,)}, ValueError, "--severities must be from 1 to 5"),
    "negative limit": ({"limit": -1}, ValueError, "--limit must be at least 1, got -1"),
    "batch": ({"batch_size": 0}, ValueError, "--batch-size must be at least 1"),
    "device": ({"device": "toaster"}, ValueError, "--device must be auto, cpu"),
    "split": ({"split": "later"}, ValueError, "split must be one of"),
    "unknown images": ({"images": ("nowhere.npz",)}, FileNotFoundError, r"nowhere\.npz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_written(case, settings):
    change, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        run(replace(settings, **change))
    assert not settings.out.exists()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("{saved}/teacher",), "teacher has no classifier"),
        (("{saved}/tuned", "{saved}/./tuned/"), "models must be unique"),
    ],
)
def test_models_without_a_classifier_or_given_twice_are_refused(settings, saved, models, message):
    with pytest.raises(ValueError, match=message):
        run(replace(settings, models=tuple(model.format(saved=saved) for model in models)))


def test_names_are_shortened_but_unique():
    sources = ["a/x/model", "b/x/model", "b/y"]
    assert unique_names(sources, "models") == ["a/x/model", "b/x/model", "y"]


def test_a_folder_called_model_is_named_with_its_parent(tmp_path, monkeypatch):
    (tmp_path / "distill-0").mkdir()
    monkeypatch.chdir(tmp_path / "distill-0")
    for source in (tmp_path / "distill-0" / "model", "model", "../distill-0/model"):
        assert unique_names([str(source)], "models") == ["distill-0/model"]
    assert unique_names(["model", "../fine-tune-0/model"], "models") == ["distill-0/model", "fine-tune-0/model"]


def test_a_model_that_does_not_take_its_images_is_named(settings, saved, monkeypatch):
    monkeypatch.setattr("vl_attention.commands._models.input_size", lambda model: (16, 16))
    for load, given in ((load_classifiers, ([str(saved / "tuned")], None, "cpu")),
                        (load_models, ([str(saved / "teacher")], "cpu"))):  # fmt: skip
        with pytest.raises(ValueError, match=r"does not take images of 16x16 pixels and 1 channel \(Input height"):
            load(*given)


def test_models_of_the_same_name_get_different_names(settings, saved, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(saved / "tuned", tmp_path / name / "model")
    run(replace(settings, models=(str(tmp_path / "a" / "model"), str(tmp_path / "b" / "model")), shifts=("none",)))
    assert [row["model"] for row in rows(settings)] == ["a/model", "b/model"]


def test_models_of_other_sizes_get_images_of_their_size(settings, saved, tmp_path):
    large = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2,
                              num_classes=3)  # fmt: skip
    save_classifier(Classifier(large), tmp_path / "large", classes=("gray", "dark", "bright"))
    run(replace(settings, models=(*settings.models, str(tmp_path / "large"))))
    assert len(rows(settings)) == 15


def test_the_command_line_has_positional_models():
    found = tyro.cli(Evaluate, args=["a", "b", "--images", "x", "y", "--shifts", "all", "--limit", "None"])
    assert (found.models, found.images, found.shifts, found.limit) == (("a", "b"), ("x", "y"), ("all",), None)
    assert tyro.cli(Evaluate, args=[]) == Evaluate()


def test_a_table_with_other_rows_is_refused(settings):
    run(replace(settings, shifts=("none",)))
    path = settings.out / "evaluate.csv"
    path.write_text(path.read_text().replace(",0,", ",zero,", 1))
    with pytest.raises(ValueError, match=r"evaluate\.csv has a row that is not an evaluation result"):
        run(settings)


def test_input_size_and_channels_are_read_from_a_model(saved):
    (teacher,) = load_models([str(saved / "teacher")], "cpu")
    assert (teacher.name, teacher.size, teacher.channels, teacher.num_classes) == ("teacher", (12, 12), 1, 0)
    (tuned,) = load_classifiers([str(saved / "tuned")], None, "cpu")
    assert (tuned.size, tuned.channels, tuned.classes, tuned.num_classes) == (
        (12, 12),
        1,
        ("bright", "gray", "dark"),
        3,
    )
