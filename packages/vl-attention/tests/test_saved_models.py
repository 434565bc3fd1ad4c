"""Saved models predict the same after loading; damaged folders are refused."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from vl_attention import AttentionTransfer, Classifier, Normalization, random_student
from vl_attention.classifiers.saved_models import (
    class_names,
    load_classifier,
    load_model,
    save_classifier,
    save_model,
    transfer_mode,
)
from vl_attention.models.folders import BUILT_IN, PRETRAINED


@pytest.fixture
def gray():
    return torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def teacher(saved):
    return load_model(saved / "teacher")


def answers(model, images):
    with torch.no_grad():
        return model.eval()(images).logits


def test_a_plain_model_is_read_again_with_its_normalization_and_classes(tmp_path):
    size = {"img_size": (8, 16), "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    model = timm.create_model("vit_tiny_patch16_224", **size).eval()
    normalization = Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_model(model, tmp_path / "new" / "model", normalization=normalization, classes=["a", "b", "c"])
    again = load_model(tmp_path / "new" / "model").eval()
    images = torch.rand(2, 3, 8, 16)
    assert torch.equal(again(images), model(images))
    assert Normalization.of(again) == normalization
    assert class_names(again) == ("a", "b", "c")
    assert again.patch_embed.img_size == (8, 16)


def test_timm_itself_reads_the_folder(saved, gray, teacher):
    found = timm.create_model(f"local-dir:{saved / 'teacher'}", pretrained=True).eval()
    assert torch.equal(found(gray), teacher.eval()(gray))


def test_a_new_head_has_no_names(saved):
    model = load_model(saved / "tuned", num_classes=5)
    assert model.num_classes == 5
    assert class_names(model) == ()


@pytest.mark.parametrize("mode", ["distill", "copy"])
def test_half_precision_halves_the_file_and_loads_as_float32(mode, tmp_path, gray, teacher):
    model = AttentionTransfer(teacher, mode=mode, num_classes=3, seed=1)
    options = {"teacher": teacher} if mode == "copy" else {}
    for name, dtype in (("full", None), ("half", torch.float16)):
        save_classifier(model, tmp_path / name, dtype=dtype)
    full, half = (load_file(tmp_path / name / "model.safetensors") for name in ("full", "half"))
    assert {value.dtype for value in full.values()} == {torch.float32}
    assert {value.dtype for value in half.values()} == {torch.float16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    loaded = load_classifier(tmp_path / "half", **options)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(answers(loaded, gray), answers(model, gray), atol=5e-3, rtol=5e-3)


def test_built_in_models_are_stored_in_float16_and_load_as_float32():
    files = [PRETRAINED / name / "model.safetensors" for name in BUILT_IN]
    assert {value.dtype for file in files for value in load_file(file).values()} == {torch.float16}
    assert sum(file.stat().st_size for file in files) <= 4.5e6
    assert {parameter.dtype for name in BUILT_IN for parameter in load_model(name).parameters()} == {torch.float32}


@pytest.mark.parametrize("mode", ["plain", "distill", "output", "copy", "copy_q", "copy_k", "copy_v"])
def test_a_trained_model_answers_as_before(mode, tmp_path, gray, teacher):
    if mode == "plain":
        model = Classifier(random_student(teacher, 3, seed=1), Normalization((0.3,), (0.2,)))
    else:
        model = AttentionTransfer(teacher, mode=mode, num_classes=3, layers="first:1", seed=1)
    save_classifier(model, tmp_path / "model", classes=["a", "b", "c"])
    copies = mode.startswith("copy")
    assert transfer_mode(tmp_path / "model") == (mode if copies else None)
    again = load_classifier(tmp_path / "model", teacher=teacher if copies else None)
    assert not again.training
    assert torch.equal(answers(again, gray), answers(model, gray))
    assert again.student_normalization == model.student_normalization
    assert class_names(again.student) == ("a", "b", "c")


def test_a_student_with_copied_attention_does_not_inherit_class_names(tmp_path, saved):
    tuned = load_model(saved / "tuned")
    assert class_names(tuned) == ("bright", "gray", "dark")
    save_classifier(AttentionTransfer(tuned, mode="copy", num_classes=3, seed=0), tmp_path / "model")
    assert class_names(load_classifier(tmp_path / "model", teacher=tuned).student) == ()


def test_a_random_student_does_not_inherit_class_names(tmp_path, saved):
    tuned = load_model(saved / "tuned")
    student = random_student(tuned, 3, seed=0)
    assert class_names(student) == ()
    assert class_names(tuned) == ("bright", "gray", "dark")
    save_model(student, tmp_path / "model")
    assert class_names(load_model(tmp_path / "model")) == ()


@pytest.mark.parametrize("mode", ["plain", "copy"])
@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (("a", "b"), ValueError, r"classes must name each of the model's 3 outputs, got 2 names"),
        (("a", "a", "b"), ValueError, r"classes must be unique, got 'a' more than once"),
        ("abc", ValueError, r"classes must be a sequence of names, got the single string 'abc'"),
        ([1, 2, 3], TypeError, r"classes must be strings, got 1 of type int"),
    ],
)
def test_class_names_that_cannot_be_those_of_the_outputs_are_refused(mode, classes, error, message, tmp_path, teacher):
    student = random_student(teacher, 3, seed=1)
    model = Classifier(student) if mode == "plain" else AttentionTransfer(teacher, mode="copy", num_classes=3)
    with pytest.raises(error, match=message):
        save_classifier(model, tmp_path / "model", classes=classes)
    assert not (tmp_path / "model").exists()
    save_classifier(model, tmp_path / "model", classes=np.array(["a", "b", "c"]))
    assert class_names(load_classifier(tmp_path / "model", teacher=teacher).student) == ("a", "b", "c")


def with_other_weights(teacher):
    changed = copy.deepcopy(teacher)
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    return changed


def of_other_heads(teacher, **options):
    return timm.create_model("vit_tiny_patch16_224", img_size=12, patch_size=4, in_chans=1, embed_dim=24, depth=2,
                             num_heads=2, **options)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "other_teacher", "message"),
    [
        ("copied", None, r"copied copies its attention and needs its teacher"),
        ("copied", with_other_weights, "copied from a teacher with other weights"),
        ("copied", of_other_heads, r"does not fit .*pass the teacher .* as student="),
        ("teacher", None, "teacher has no classifier"),
    ],
)
def test_classifiers_without_their_parts_are_refused(saved, teacher, model, other_teacher, message):
    given = None if other_teacher is None else other_teacher(teacher)
    with pytest.raises(ValueError, match=message):
        load_classifier(saved / model, teacher=given)


def test_means_without_deviations_are_refused(tmp_path, saved):
    shutil.copytree(saved / "tuned", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["pretrained_cfg"]["std"] = None
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json that does not fit its model \(std .* must be one .*got None"):
        load_classifier(tmp_path / "model")


def narrow(seed):
    options = {"num_classes": 0, "class_token": False, "global_pool": "avg"}
    return random_student(of_other_heads(None, **options), 3, seed=seed)


def test_a_copying_student_of_another_width_is_read_into_one_of_its_width(tmp_path, gray, teacher):
    model = AttentionTransfer(teacher, narrow(1), mode="copy")
    save_classifier(model, tmp_path / "model", classes=["a", "b", "c"])
    again = load_classifier(tmp_path / "model", teacher=teacher, student=narrow(2))
    assert torch.equal(answers(again, gray), answers(model, gray))
    with pytest.raises(ValueError, match=r"does not fit .*a model of that as student="):
        load_classifier(tmp_path / "model", teacher=teacher)


def test_students_of_transformers_are_saved_by_transformers_or_with_what_they_copy(tmp_path, make, images):
    teacher = make("transformers ViT")
    with pytest.raises(ValueError, match=r"must be a timm model, got ViTForImageClassification; .*save_pretrained"):
        save_classifier(AttentionTransfer(teacher, num_classes=5), tmp_path / "distilled")
    model = AttentionTransfer(teacher, mode="copy", num_classes=5, seed=0)
    save_classifier(model, tmp_path / "copied")
    again = load_classifier(tmp_path / "copied", teacher=teacher)
    assert torch.equal(answers(again, images), answers(model, images))


def test_a_transfer_written_with_save_pretrained_needs_its_teacher(tmp_path, teacher):
    AttentionTransfer(teacher, num_classes=3, seed=0).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"written with save_pretrained .* with save_classifier"):
        load_classifier(tmp_path)
    with pytest.raises(ValueError, match=r"needs the teacher that it learned from; pass teacher="):
        AttentionTransfer.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no model '/nope': .* check the path"):
        AttentionTransfer.from_pretrained("/nope", teacher=teacher)


def test_a_student_with_copied_attention_is_no_plain_model(saved):
    with pytest.raises(ValueError, match=r"student of mode='copy', .* load_classifier"):
        load_model(saved / "copied")


@pytest.mark.parametrize("name", ["nowhere", "some/where/else", "nobody/nothing"])
def test_a_model_that_is_not_there_is_named(name):
    with pytest.raises(FileNotFoundError, match=f"no model '{name}'"):
        load_model(name)


@pytest.mark.parametrize("model", ["distilled", "copied"])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_folder_is_named(model, file, damage, saved, tmp_path, teacher):
    folder = shutil.copytree(saved / model, tmp_path / model)
    if damage == "missing":
        (folder / file).unlink()
    else:
        (folder / file).write_bytes((folder / file).read_bytes()[:40])
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        load_classifier(folder, teacher=teacher)


@pytest.mark.parametrize("content", ["[]", "null", '{"architecture": "no_such_model"}', '{"mode": 5}'])
def test_an_unrelated_configuration_is_refused_with_its_path(content, saved, tmp_path, teacher):
    folder = shutil.copytree(saved / "distilled", tmp_path / "model")
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        load_classifier(folder, teacher=teacher)


def test_weights_of_another_model_are_refused(saved, tmp_path):
    folder = shutil.copytree(saved / "distilled", tmp_path / "model")
    shutil.copy(saved / "four" / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match="no model that timm can load"):
        load_model(folder)


def test_names_may_be_a_mapping_from_numbers(saved, tmp_path):
    folder = shutil.copytree(saved / "distilled", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["label_names"] = {"10": "c", "2": "b", "1": "a"}
    (folder / "config.json").write_text(json.dumps(config))
    assert class_names(load_model(folder)) == ("a", "b", "c")


@pytest.mark.parametrize(
    "changes", [{"depth": 10**9}, {"depth": 1_000_000}, {"depth": 100_000}, {"embed_dim": 90_000, "num_heads": 3}]
)
def test_a_model_that_its_weights_cannot_fill_costs_no_memory(tmp_path, changes):
    size = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2, "num_classes": 2}
    save_model(timm.create_model("vit_tiny_patch16_224", **size), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_args"].update(changes)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"(could|cannot) fill"):
        load_classifier(tmp_path)


def test_a_normalization_that_is_none_is_named(tmp_path):
    size = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2, "num_classes": 2}
    save_model(timm.create_model("vit_tiny_patch16_224", **size), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"]["mean"] = [[0.5], 0.5, 0.5]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        load_classifier(tmp_path)


def test_a_size_of_zero_is_refused_without_a_warning(tmp_path):
    size = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2, "num_classes": 2}
    save_model(timm.create_model("vit_tiny_patch16_224", **size), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_args"]["in_chans"] = 0
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="holds no model that timm can load"):
        load_classifier(tmp_path)
