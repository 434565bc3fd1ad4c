"""`vl-diffusion adapt`: the same corrupted images for every method, and exact resumption after an interruption."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor
from vl_core.corruptions import corrupt
from vl_core.data import open_dataset
from vl_core.runs import RunFolder
from vl_diffusion import DiffusionClassifier, DiffusionTTA, Exhaustive
from vl_diffusion.cli import main
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser
from vl_diffusion.models.images import content_id, to_tensor
from vl_diffusion.models.loading import load_denoiser
from vl_diffusion.models.small_cnn import SmallCNN
from vl_diffusion.studies.adaptation.cells import CLEAN, Cell, CorruptedImages
from vl_diffusion.studies.adaptation.methods import METHODS, Method
from vl_diffusion.studies.adaptation.names import source_folder
from vl_diffusion.studies.adaptation.report import Report
from vl_diffusion.studies.adaptation.runners import AdapterRunner, MethodInputs, Outcome
from vl_diffusion.studies.adaptation.runs import MethodRun, run_method, unpack
from vl_diffusion.studies.adaptation.sources import Source, load_source
from vl_diffusion.studies.record import StudyRecord

COLUMNS = "corruption,severity,method,seed,images,accuracy,passes_per_image,cpu_seconds"
FOG = Cell("fog", 3)


@pytest.fixture(scope="module")
def source(tmp_path_factory, tiny):
    """A small untrained network for each of two seeds."""
    folder = tmp_path_factory.mktemp("source")
    for seed in (0, 1):
        with tiny.seeded(seed):
            SmallCNN(8, classes=tiny.CLASSES).save_pretrained(folder / f"seed-{seed}")
    return f"{folder}/seed-{{seed}}"


def make_quick(patch):
    """Replace the default methods by ones that learn much from few passes, three images at a time online."""

    def adapting(**settings):
        objective = DiffusionTTA(draws=3)
        return lambda inputs: AdapterRunner(
            inputs.adapter(objective=objective, gate=None, steps=2, learning_rate=0.05, **settings), inputs.errors
        )

    for method in (
        Method("default", adapting(images_at_once=4)),
        Method("default_online", adapting(mode="online", images_at_once=3)),
    ):
        patch.setitem(METHODS, method.name, method)


@pytest.fixture
def quick(monkeypatch):
    make_quick(monkeypatch)


@pytest.fixture
def undrawn(monkeypatch):
    """Skip the plots, most of a small study's time."""
    for name in ("_draw_gains", "_draw_images"):
        monkeypatch.setattr(Report, name, lambda self, path: None)


@pytest.fixture
def arguments(labeled_folder, pixel_dit_folder, source):
    """The command without its methods and folder: ten images, clean and in fog."""
    return command(labeled_folder, pixel_dit_folder, source)


def command(folder, model, source):
    return [
        *("adapt", str(folder), "--model", str(model), "--source", source),
        *("--corruptions", "fog", "--severities", "3", "--limit", "10"),
    ]


@pytest.fixture(scope="module")
def whole(labeled_folder, pixel_dit_folder, source, tmp_path_factory):
    """The folder of an episodic and an online method without an interruption."""
    out = tmp_path_factory.mktemp("adapt") / "whole"
    given = command(labeled_folder, pixel_dit_folder, source)
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        assert main([*given, "--methods", "default", "default_online", "--out", str(out)]) == 0
    return out


def rows(out, name="adapt.csv"):
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(out):
    return [{name: value for name, value in row.items() if name != "cpu_seconds"} for row in rows(out)]


def last_error(capsys):
    return capsys.readouterr().err.splitlines()[-1]


def test_tables_have_a_row_for_each_cell_method_and_seed(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    cheap = ["tent", "default", "default_online", "ungated", "diffusion_classifier"]
    arguments[-1] = "2"
    assert main([*arguments, "--methods", *cheap, "--seeds", "0", "1", "--out", str(out)]) == 0
    assert (out / "adapt.csv").read_text().splitlines()[0] == COLUMNS
    found = rows(out)
    assert [(row["corruption"], row["severity"], row["method"], row["seed"]) for row in found] == [
        (corruption, severity, method, seed)
        for corruption, severity in (("clean", "0"), ("fog", "3"))
        for method in ("source", *cheap)
        for seed in "01"
    ]
    assert {row["images"] for row in found} == {"2"}
    assert all((float(row["passes_per_image"]) == 0) == (row["method"] in ("source", "tent")) for row in found)
    gains = rows(out, "gains.csv")
    assert len(gains) == 3 * 6
    assert {(row["corruption"], row["severity"]) for row in gains[-6:]} == {("all", "all")}
    assert {row["gain"] for row in gains if row["method"] == "source"} == {"0"}
    for name in ("adapt.png", "images.png"):
        with Image.open(out / name) as image:
            assert image.width > 600
    assert "passes per image" in capsys.readouterr().out


@pytest.mark.parametrize("stops", ["record", "state"])
def test_an_interrupted_study_ends_with_the_same_rows(stops, whole, quick, arguments, tmp_path, monkeypatch, capsys):
    arguments += ["--methods", "default", "default_online", "--out"]
    out, calls = tmp_path / "parts", []
    interrupted = {"record": (StudyRecord, "append", 6), "state": (RunFolder, "save_checkpoint", 2)}
    kind, name, at = interrupted[stops]
    original = getattr(kind, name)

    def interrupt(self, *given, **totals):
        calls.append(given)
        if len(calls) == at:
            raise KeyboardInterrupt
        return original(self, *given, **totals)

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, interrupt)
        assert main([*arguments, str(out)]) == 130
    # The source's ten, ten of the episodic method, and one or two full groups of the online one.
    kept = {"record": 23, "state": 26}[stops]
    note = f"{kept} of 60 predictions are kept in {out}; rerun the command to resume"
    assert last_error(capsys) == f"vl-diffusion: interrupted; {note}"
    with (out / "outcomes.jsonl").open("a") as file:
        file.write('{"image_ids": [1')
    assert main([*arguments, str(out)]) == 0
    assert f"{kept} of 60 predictions are finished in {out}" in capsys.readouterr().err
    assert without_seconds(out) == without_seconds(whole)
    for name in ("gains.csv", "images.png", "adapt.png"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    # What was learned on the way ends the same, too, to the last bit.
    last = "kept/runs/fog-3-default_online-0/checkpoint/last.safetensors"
    assert (out / last).read_bytes() == (whole / last).read_bytes()


def test_online_state_is_saved_after_every_full_group(whole, source):
    run = MethodRun(FOG, "default_online", 0)
    kept = RunFolder(whole / "kept" / "runs" / run.name, {"run": run}).load_checkpoint()
    # The tenth image makes no group of three.
    assert kept.step == 9
    values = unpack(kept.state["runner"], kept.tensors)["values"]
    start = SmallCNN.from_pretrained(source_folder(source, 0)).parameters()
    assert any(not torch.equal(value, parameter) for value, parameter in zip(values, start, strict=True))


@pytest.mark.usefixtures("undrawn")
def test_a_larger_limit_resumes_with_the_rows_of_one_run(whole, quick, arguments, tmp_path, capsys):
    arguments += ["--methods", "default", "default_online", "--out"]
    out = tmp_path / "out"
    # Four images are a full group of three and one more, which is adapted to again in a group with others.
    assert main([*arguments, str(out), "--limit", "4"]) == 0
    assert {row["images"] for row in rows(out)} == {"4"}
    capsys.readouterr()
    assert main([*arguments, str(out)]) == 0
    assert "24 of 60 predictions are finished" in capsys.readouterr().err
    assert without_seconds(out) == without_seconds(whole)


def test_state_learned_from_other_images_is_not_resumed(quick, source, pixel_dit_folder, tmp_path):
    denoiser, run = load_denoiser(pixel_dit_folder), MethodRun(CLEAN, "default_online", 0)
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    def learned(ids, folder, record):
        inputs = MethodInputs.make(load_source(source_folder(source, 0)), denoiser, seed=0)
        runner = METHODS["default_online"].build(inputs)
        with record:
            run_method(run, runner, lambda i: images[ids[i]], ids, record, tmp_path / folder)
        return runner.state_dict()["values"]

    record = StudyRecord(tmp_path / "first.jsonl", Outcome)
    learned([0, 1, 2], "first", record)
    again = learned([1, 0, 2, 3, 4, 5], "first", record)
    alone = learned([1, 0, 2, 3, 4, 5], "second", StudyRecord(tmp_path / "second.jsonl", Outcome))
    assert all(map(torch.equal, again, alone))


@pytest.mark.usefixtures("undrawn")
def test_more_methods_corruptions_and_seeds_join_a_finished_study(quick, arguments, tmp_path, capsys):
    out, more = tmp_path / "out", ["--corruptions", "contrast", "--methods", "tent", "--seeds", "1", "0"]
    assert main([*arguments, "--methods", "default", "--out", str(out)]) == 0
    before = (out / "outcomes.jsonl").read_bytes()
    assert main([*arguments, *more, "--out", str(out)]) == 0
    assert (out / "outcomes.jsonl").read_bytes().startswith(before)
    # The source's predictions for clean images were there already.
    assert "10 of 80 predictions are finished" in capsys.readouterr().err
    assert {(row["corruption"], row["method"]) for row in rows(out)} == {
        (corruption, method) for corruption in ("clean", "contrast") for method in ("source", "tent")
    }


@pytest.mark.usefixtures("undrawn")
def test_every_seed_has_its_own_classifier_and_the_same_images(arguments, labeled_folder, source, tmp_path):
    out = tmp_path / "out"
    assert main([*arguments, "--limit", "16", "--methods", "source", "--seeds", "0", "1", "--out", str(out)]) == 0
    data = open_dataset(labeled_folder)
    images = [to_tensor(data[i][0]) for i in range(len(data))]
    ids = [content_id(image) for image in images]
    corrupted = corrupt(torch.stack(images), "fog", 3, image_ids=ids)
    record = StudyRecord(out / "outcomes.jsonl", Outcome)
    for seed in (0, 1):
        model = SmallCNN.from_pretrained(source_folder(source, seed))
        for cell, shown in ((CLEAN, torch.stack(images)), (FOG, corrupted)):
            with torch.no_grad():
                wanted = model(shown).argmax(1).tolist()
            found = record.of(MethodRun(cell, "source", seed).name)
            assert [found[image_id].prediction for image_id in ids] == wanted


def test_corruptions_depend_on_the_image_id(labeled_folder):
    class Two:
        images = ()

        def __getitem__(self, i):
            return np.full((8, 8), 128, np.uint8)

    noise = Cell("gaussian_noise", 5)
    first, again = (CorruptedImages(Two(), ids, noise) for ids in ([4, 5], [5, 4]))
    assert torch.equal(first(0), again(1))
    assert torch.equal(first(1), again(0))
    assert not torch.equal(first(0), first(1))
    assert not torch.equal(first(0), CorruptedImages(Two(), [4], noise, tuned_for=224)(0))


@pytest.mark.usefixtures("undrawn")
def test_diffusion_classifier_predicts_as_it_does_alone(arguments, labeled_folder, pixel_dit_folder, tmp_path):
    out = tmp_path / "out"
    assert main([*arguments, "--limit", "3", "--methods", "diffusion_classifier", "--out", str(out)]) == 0
    record = StudyRecord(out / "outcomes.jsonl", Outcome)
    found = record.of(MethodRun(FOG, "diffusion_classifier", 0).name)
    data = open_dataset(labeled_folder)
    images = {content_id(to_tensor(data[i][0])): to_tensor(data[i][0]) for i in range(len(data))}
    shown = [corrupt(images[image_id], "fog", 3, image_ids=[image_id])[0] for image_id in found]
    # The grid of nine draws is the same.
    classifier = DiffusionClassifier.from_pretrained(pixel_dit_folder, search=Exhaustive(9))
    result = classifier.classify(shown, image_ids=list(found))
    assert [one.prediction for one in found.values()] == result.predictions.tolist()
    assert [one.forward_passes for one in found.values()] == result.total_evaluations.tolist() == [90] * 3
    assert {one.backward_passes for one in found.values()} == {0}


@pytest.mark.parametrize("compile", [False, True])
def test_shared_errors_give_the_adapter_its_own_numbers(pixel_dit_folder, source, compile, monkeypatch):
    # Compiling takes half a minute; that batches are filled up for it is what matters here.
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    denoiser = load_denoiser(pixel_dit_folder)
    inputs = MethodInputs.make(load_source(source_folder(source, 0)), denoiser, seed=3, compile=compile)
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    alone = inputs.adapter()(images, image_ids=[5, 6, 7])
    for ids, evaluations in (([5, 6], 2 * 45), ([5, 6, 7], 3 * 45)):
        shared = inputs.adapter(objective=inputs.evidence())(images[: len(ids)], image_ids=ids)
        torch.testing.assert_close(shared.outputs, alone.outputs[: len(ids)], rtol=1e-4, atol=1e-5)
        assert shared.forward_passes.tolist() == alone.forward_passes.tolist()[: len(ids)] == [45] * len(ids)
        assert inputs.errors.evaluations == evaluations
    other = inputs.adapter(objective=inputs.evidence())(1 - images, image_ids=[5, 6, 7])
    assert not torch.equal(other.outputs, alone.outputs)
    assert inputs.errors.evaluations == 6 * 45


def test_methods_have_their_documented_settings(pixel_dit_folder, sd_folder, source, tiny):
    inputs = MethodInputs.make(load_source(source_folder(source, 0)), load_denoiser(pixel_dit_folder), seed=3)
    assert list(METHODS)[:4] == ["source", "tent", "default", "default_online"]
    runners = {name: method.build(inputs) for name, method in METHODS.items()}
    assert [name for name, runner in runners.items() if runner.carries_over] == ["tent", "default_online"]
    literal = runners["diffusion_tta"].adapter
    assert (literal.steps, literal.optimizer, literal.learning_rate, literal.gate) == (5, "sgd", 5e-3, None)
    assert literal.objective == DiffusionTTA(draws=180, placement="random")
    result = literal(torch.rand(1, 28, 28))
    assert (result.forward_passes.tolist(), result.backward_passes.tolist()) == ([900], [900])
    tent = runners["tent"].adapter
    assert (tent.batch_norm, tent.mode) == ("source", "online")
    assert set(tent.parameter_names) < set(literal.parameter_names)
    # Its batch normalization uses the statistics of the group.
    normalized = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(784), torch.nn.Linear(784, 10))
    other = MethodInputs.make(Source(normalized, lambda image: image, tiny.CLASSES), inputs.denoiser, seed=0)
    assert METHODS["tent"].build(other).adapter.batch_norm == "batch"


def test_published_setting_adapts_denoisers_without_prompts_only(pixel_dit_folder, sd_folder, source, monkeypatch):
    given, adapter = [], MethodInputs.adapter

    def watched(self, **settings):
        given.append(settings["adapt_denoiser"])
        return adapter(self, **settings)

    monkeypatch.setattr(MethodInputs, "adapter", watched)
    for folder in (pixel_dit_folder, sd_folder):
        inputs = MethodInputs.make(load_source(source_folder(source, 0)), load_denoiser(folder), seed=0)
        METHODS["diffusion_tta"].build(inputs)
    assert given == ["all", None]


@pytest.mark.usefixtures("undrawn")
def test_precision_applies_to_the_diffusion_model_only(quick, arguments, pixel_dit_folder, tmp_path, monkeypatch):
    seen, predict = set(), ClassConditionalDenoiser.predict

    def watched(self, x_t, time, condition):
        output = predict(self, x_t, time, condition)
        seen.add((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), x_t.dtype))
        return output

    monkeypatch.setattr(ClassConditionalDenoiser, "predict", watched)
    methods = ("--methods", "default", "diffusion_classifier", "--precision", "bfloat16")
    assert main([*arguments, *methods, "--limit", "2", "--out", str(tmp_path / "out")]) == 0
    assert seen == {(True, torch.bfloat16, torch.float32)}


@pytest.mark.usefixtures("undrawn")
def test_an_image_classifier_of_transformers_is_a_source(arguments, tmp_path, tiny, capsys):
    folder, out = tmp_path / "resnet", tmp_path / "out"
    names = dict(enumerate(tiny.CLASSES))
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], id2label=names)
    with tiny.seeded(0):
        ResNetForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    arguments[arguments.index("--source") + 1] = str(folder)
    assert main([*arguments, "--limit", "3", "--methods", "tent", "--out", str(out)]) == 0
    assert len(rows(out)) == 4
    capsys.readouterr()
    (folder / "preprocessor_config.json").unlink()
    assert main([*arguments, "--methods", "tent", "--out", str(tmp_path / "other")]) == 2
    assert "holds neither a SmallCNN nor an image classifier of transformers with its processor" in last_error(capsys)


def other_denoiser_classes(arguments, folder, tiny):
    model = arguments.index("--model") + 1
    shutil.copytree(arguments[model], folder / "dit")
    (folder / "dit" / "classes.json").write_text(json.dumps([f"no {name}" for name in tiny.CLASSES]))
    arguments[model] = str(folder / "dit")


def nan_images(arguments, folder, tiny):
    np.savez(folder / "nan.npz", x=np.full((2, 28, 28), np.nan), y=[0, 1], classes=["cat", "dog"])
    arguments[1] = str(folder / "nan.npz")


def image_too_small_to_corrupt(arguments, folder, tiny):
    (folder / "small" / "cat").mkdir(parents=True)
    Image.new("L", (6, 6), 90).save(folder / "small" / "cat" / "tiny.png")
    arguments[1] = str(folder / "small")
    arguments += ["--methods", "source"]


def more_names_than_logits(arguments, folder, tiny):
    arguments += ["--classes", *tiny.CLASSES, "unicorn"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--corruptions", "rain"], "--corruptions must be among gaussian_noise, shot_noise"),
        (["--severities", "6"], "--severities must be among 1, 2, 3, 4, 5, got 6"),
        (["--methods", "magic"], "--methods must be among source, tent, default"),
        (["--seeds", "-1"], "--seeds must be from 0 to 2147483647, got -1"),
        (["--seeds", "7"], "there is no folder"),
        (["--source", "fashion_few", "--seeds", "77"], "is built in with the seeds"),
        (["--source", "nowhere"], "no source nowhere"),
        (["--limit", "0"], "--limit must be at least 1, got 0"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--tuned-for", "9"], "--tuned-for must be from 32 to 224"),
        (["--classes", "cat", "dog"], "the images' labels must be classes of the source (cat, dog), got "),
        (["--device", "nonsense"], "--device must be auto, cpu, cuda"),
        (more_names_than_logits, "classes must name the source's logits, 10 of them, in their order; got 11"),
        (other_denoiser_classes, "airplane"),
        (nan_images, "nan.npz"),
        (image_too_small_to_corrupt, "tiny.png: images must be at least 8 pixels a side"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line_before_anything_is_written(
    wrong, message, arguments, tiny, tmp_path, capsys
):
    out = tmp_path / "out"
    if callable(wrong):
        wrong(arguments, tmp_path, tiny)
        wrong = []
    assert main([*arguments, "--out", str(out), *wrong]) == 2
    error = last_error(capsys)
    assert error.startswith("vl-diffusion: error: ")
    assert message in error
    assert not out.exists()


def with_words_for_predictions(record):
    """The first line of a record, with words for predictions."""
    line = json.loads(record.splitlines()[0])
    for outcomes in line["results"].values():
        for outcome in outcomes:
            outcome["prediction"] = "cat"
    return json.dumps(line) + "\n"


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_record_names_its_line(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*arguments, "--methods", "source", "--out", str(out)]) == 0
    path = out / "outcomes.jsonl"
    whole = path.read_text()
    lacking = whole.splitlines()[0].replace("adapted", "a") + "\n"
    for damaged in ("{]\n", '{"corruption": "fog"}\n', lacking, with_words_for_predictions(whole)):
        path.write_text(damaged + whole)
        assert main([*arguments, "--methods", "source", "--out", str(out)]) == 2
        assert f"{path}, line 1 is damaged" in last_error(capsys)


@pytest.mark.usefixtures("undrawn")
def test_outcomes_of_other_settings_are_not_mixed(quick, arguments, source, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    folder = tmp_path / "source"
    shutil.copytree(source_folder(source, 0), folder)
    arguments[arguments.index("--source") + 1] = str(folder)
    arguments += ["--methods", "default", "--out", str(out)]
    assert main(arguments) == 0
    assert main([*arguments, "--tuned-for", "224"]) == 2
    assert "tuned_for (None in the folder, now 224)" in last_error(capsys)
    with monkeypatch.context() as patch:
        slower = Method(
            "default", lambda inputs: AdapterRunner(inputs.adapter(objective=DiffusionTTA(draws=5)), inputs.errors)
        )
        patch.setitem(METHODS, "default", slower)
        assert main(arguments) == 2
    assert "DiffusionTTA(draws=3" in (error := last_error(capsys))
    assert 'now "DiffusionTTA(draws=5' in error
    model = SmallCNN.from_pretrained(folder)
    torch.nn.init.zeros_(model.head.bias)
    model.save_pretrained(folder)
    assert main(arguments) == 2
    assert "source_sha256" in last_error(capsys)


@pytest.mark.usefixtures("undrawn")
def test_equal_images_are_used_once(arguments, labeled_folder, tmp_path, capsys):
    folder, out = tmp_path / "twice", tmp_path / "out"
    shutil.copytree(labeled_folder, folder)
    first = sorted(folder.glob("*/*.png"))[0]
    shutil.copy(first, first.with_name("copy.png"))
    arguments[1] = str(folder)
    assert main([*arguments, "--limit", "17", "--methods", "source", "--out", str(out)]) == 0
    assert "1 of 17 images equal others and are left out" in capsys.readouterr().err
    assert {row["images"] for row in rows(out)} == {"16"}
