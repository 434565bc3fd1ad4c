"""Training learns, resumes exactly, and does not depend on the number of processes."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.data import ConcatDataset, DataLoader
from vl_attention import AttentionTransfer, Normalization
from vl_attention.classifiers.classifier import Classifier
from vl_attention.models.masked_autoencoder import MaskedAutoencoder
from vl_attention.training.augmentation import AugmentedImages, Mixing, PlainImages, seeded
from vl_attention.training.parameters import _UNDECAYED, _depth, parameter_groups
from vl_attention.training.pretraining import pretrain
from vl_attention.training.settings import TrainSettings
from vl_attention.training.supervised import predict, train
from vl_core.runs import RunFolder
from vl_core.training import shuffled_index, weights_digest

SCRIPT = Path(__file__).parent / "small_training.py"
SPEC = importlib.util.spec_from_file_location("small_training", SCRIPT)
small_training = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(small_training)
SETTINGS, SIZE, Colors, transfer = (getattr(small_training, n) for n in ("SETTINGS", "SIZE", "Colors", "transfer"))
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


def run(model, out, settings=SETTINGS, images=None, **options):
    train(
        model,
        Colors() if images is None else images,
        settings,
        out,
        num_classes=2,
        size=(16, 16),
        progress=False,
        **{"checkpoint_every": 5, "log_every": 5, **options},
    )
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("mode", ["distill", "copy"])
def test_a_student_learns_its_task_and_its_teachers_attention(tmp_path, mode):
    model = transfer(mode)
    run(model, tmp_path, replace(SETTINGS, epochs=12, random_augment="", erasing=0.0))
    logits, labels = predict(model, Colors(), SETTINGS, size=(16, 16))
    assert (logits.argmax(-1) == labels).float().mean() == 1
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["task_loss"] < rows[0]["task_loss"]
    assert (rows[-1]["transfer_loss"] < rows[0]["transfer_loss"]) == (mode == "distill")


def test_a_plain_classifier_is_trained_by_the_same_loop(tmp_path):
    torch.manual_seed(0)
    model = Classifier(timm.create_model("vit_tiny_patch16_224", num_classes=2, **SIZE))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = run(model, tmp_path)
    assert not equal(before, after)


class Interrupted(Colors):
    def __getitem__(self, index):
        if self.reads == 100:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(tmp_path):
    settings = replace(SETTINGS, mixup=0.8, cutmix=1.0)
    whole = run(transfer(drop_path=0.3), tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        run(transfer(drop_path=0.3), tmp_path / "parts", settings, Interrupted())
    assert not equal(whole, transfer(drop_path=0.3).state_dict())
    resumed = run(transfer(drop_path=0.3), tmp_path / "parts", settings)
    assert equal(whole, resumed)
    metrics = [(tmp_path / part / "metrics.jsonl").read_text() for part in ("whole", "parts")]
    assert metrics[0] == metrics[1]


def test_a_resumed_run_may_change_workers_and_compilation(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(AttentionTransfer, "compile_blocks", lambda self: compiled.append(self))
    alone = lambda *given, num_workers, **options: DataLoader(*given, **options)  # noqa: E731
    monkeypatch.setattr("vl_core.training._loop.DataLoader", alone)
    whole = run(transfer(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(transfer(), tmp_path / "parts", images=Interrupted())
    resumed = run(transfer(), tmp_path / "parts", replace(SETTINGS, workers=2, compile=True))
    assert equal(whole, resumed)
    assert len(compiled) == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_and_two_processes_are_one_with_twice_the_images(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    program = [sys.executable, str(SCRIPT)]
    killed = subprocess.run([*program, tmp_path / "killed", "2", "100"], env=environment, capture_output=True)
    assert killed.returncode == -9
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    jobs = [
        subprocess.Popen([*program, tmp_path / "killed", "2"], env=environment),
        subprocess.Popen([*LAUNCH, SCRIPT, tmp_path / "two", "1"], env=environment),
    ]
    small_training.main(tmp_path / "whole", 2)
    assert [job.wait() for job in jobs] == [0, 0]
    whole, resumed, two = (load_file(tmp_path / n / "weights.safetensors") for n in ("whole", "killed", "two"))
    assert equal(whole, resumed)
    for name, value in whole.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)


def test_a_checkpoint_does_not_contain_the_teacher(tmp_path):
    model = transfer()
    run(model, tmp_path)
    with safe_open(tmp_path / "checkpoint" / "last.safetensors", "pt") as file:
        names = set(file.keys())
    student = {name.removeprefix("student.") for name in model.state_dict()}
    assert {n.removeprefix("trained.") for n in names if n.startswith("trained.")} == student
    assert {name.split(".")[0] for name in names} == {"trained", "optimizer", "ema"}
    size = sum(t.numel() for t in model.teacher.parameters())
    assert sum(t.numel() for t in model.student.parameters()) < 1.2 * size


def test_other_settings_are_refused_in_a_folder_that_has_a_run(tmp_path):
    run(transfer(), tmp_path)
    with pytest.raises(ValueError, match=r"another configuration: .*weight_decay"):
        run(transfer(), tmp_path, replace(SETTINGS, weight_decay=0.1))


def test_the_learning_rate_rises_linearly_and_falls_along_half_a_cosine(tmp_path):
    settings = replace(SETTINGS, min_learning_rate=1e-3)
    run(Classifier(timm.create_model("vit_tiny_patch16_224", num_classes=2, **SIZE)), tmp_path, settings, log_every=1)
    rates = [json.loads(line)["learning_rate"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    peak, least = 0.1 * 8 / 256, 1e-3
    rise = [peak * update / 5 for update in range(1, 6)]  # an epoch of 5 updates, the last one at the peak
    fall = [least + (peak - least) * (1 + math.cos(math.pi * update / 15)) / 2 for update in range(1, 16)]
    assert rates == pytest.approx(rise + fall)


def of_another_teacher():
    teacher = transfer().teacher
    with torch.no_grad():
        teacher.blocks[0].attn.qkv.bias[0] += 1e-3
    return AttentionTransfer(teacher, num_classes=2, layers="all", seed=1)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda: transfer("output"), r"model\.mode \('distill' in the folder, now 'output'\)"),
        (lambda: AttentionTransfer(transfer().teacher, num_classes=2, layers=[1], seed=1), r"model\.layers"),
        (lambda: transfer(heads="first:1"), r"model\.heads \('all' in the folder, now 'first:1'\)"),
        (lambda: transfer(drop_path=0.5), r"model\.dropout"),
        (of_another_teacher, r"model\.teacher_sha256"),
        (lambda: Classifier(transfer().student), r"model\.kind .* now 'Classifier'"),
    ],
)
def test_a_run_of_another_model_is_not_resumed(tmp_path, other, named):
    with pytest.raises(KeyboardInterrupt):
        run(transfer(), tmp_path, images=Interrupted())
    with pytest.raises(ValueError, match=rf"holds a run with another configuration: .*{named}"):
        run(other(), tmp_path)


def test_a_run_is_not_resumed_with_other_frozen_parameters(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(transfer(), tmp_path, images=Interrupted())
    model = transfer()
    model.student.patch_embed.requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen \(.*'patch_embed\.proj\.bias'"):
        run(model, tmp_path)


def test_a_run_with_frozen_parameters_resumes_exactly(tmp_path):
    def frozen():
        model = transfer()
        model.student.patch_embed.requires_grad_(False)
        return model

    whole = run(frozen(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(frozen(), tmp_path / "parts", images=Interrupted())
    assert equal(whole, run(frozen(), tmp_path / "parts"))


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_is_not_resumed_with_more_images(finished, tmp_path):
    with nullcontext() if finished else pytest.raises(KeyboardInterrupt):
        run(transfer(), tmp_path, images=Colors() if finished else Interrupted())
    with pytest.raises(ValueError, match=r"images \(40 in the folder, now 80\)"):
        run(transfer(), tmp_path, images=ConcatDataset([Colors(), Colors()]))


def test_heads_that_average_are_kept_with_the_run(tmp_path):
    for _ in range(2):
        run(transfer(heads={0: [0, 1]}), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model"]["heads"] == [[0, [0, 1]]]


def test_pretraining_is_not_resumed_with_another_mask_ratio(tmp_path):
    def start(mask_ratio, images):
        encoder = timm.create_model("vit_tiny_patch16_224", num_classes=0, **SIZE)
        model = MaskedAutoencoder(encoder, mask_ratio=mask_ratio, decoder_width=16, decoder_depth=1, decoder_heads=2)
        pretrain(model, images, SETTINGS, tmp_path, size=(16, 16), checkpoint_every=5, progress=False)

    with pytest.raises(KeyboardInterrupt):
        start(0.5, Interrupted())
    with pytest.raises(ValueError, match=r"model\.num_visible \(2 in the folder, now 1\)"):
        start(0.75, Colors())


def test_a_digest_depends_on_weights_and_their_dtype():
    model = transfer().teacher
    assert weights_digest(model) == weights_digest(transfer().teacher)
    assert len({weights_digest(model), weights_digest(model.bfloat16()), weights_digest(model.double())}) == 3


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    model = transfer()
    with torch.no_grad():
        model.student.head.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"loss is not finite at update 4 .* lower the learning rate"):
        run(model, tmp_path)


@pytest.mark.parametrize(("broken", "saved"), [(6, 5), (3, None), (19, 15)])
def test_weights_that_are_not_finite_are_an_error_and_in_no_checkpoint(tmp_path, broken, saved):
    model, passes = transfer(), []  # of 20 updates; a loss is looked at in the last one alone, before its step

    def spoil(gradient):
        passes.append(1)
        return gradient * torch.nan if len(passes) == broken + 1 else gradient

    model.student.head.bias.register_hook(spoil)
    with pytest.raises(ValueError, match=r"the weight \S+ is not finite after update \d+; lower the learning rate"):
        run(model, tmp_path, replace(SETTINGS, ema_decay=0.0), log_every=100)
    checkpoint = RunFolder(tmp_path, json.loads((tmp_path / "config.json").read_text())).load_checkpoint()
    assert (checkpoint and checkpoint.step) == saved
    assert checkpoint is None or all(tensor.isfinite().all() for tensor in checkpoint.tensors.values())


@pytest.mark.parametrize("settings", [{"batch_size": 5}, {"batch_size": 6, "accumulation": 2}])
@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_an_odd_number_of_images_to_mix_is_refused_before_writing(tmp_path, settings, mixing):
    with pytest.raises(ValueError, match=r"batch_size must give an even number .* got [56] .* take a multiple of [24]"):
        run(transfer(), tmp_path / "run", replace(SETTINGS, **settings, **{mixing: 0.5}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mode", "given", "weight"),
    [("distill", None, 3), ("output", None, 50), ("relations", None, 1), ("output", 2.0, 2), ("output", 0.0, 0)],
)
def test_the_transfer_loss_has_the_default_weight_of_its_mode(tmp_path, mode, given, weight):
    settings = replace(SETTINGS, epochs=1, transfer_weight=given)
    run(transfer(mode), tmp_path, settings, log_every=1)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert row["transfer_loss"] > 0
    assert row["loss"] == pytest.approx(row["task_loss"] + weight * row["transfer_loss"])


def test_no_images_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"at least one image"):
        run(transfer(), tmp_path, images=[])


def test_an_augmented_image_depends_on_seed_and_place_alone():
    dataset = AugmentedImages(Colors(), TrainSettings(), (16, 16), 3)
    first = dataset[5]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    dataset[6]
    again = dataset[5]
    assert torch.equal(first[0], again[0])
    assert first[0].shape == (3, 16, 16)
    assert not torch.equal(first[0], dataset[45][0])
    assert first[1] == shuffled_index(5, 40, 0) % 2


class Gray:
    """One image, all of it at its mean."""

    def __init__(self, *mean):
        self.mean = mean

    def __len__(self):
        return 1

    def __getitem__(self, index):
        pixels = np.full((16, 16, 3), 255 * np.array(self.mean)).round().astype(np.uint8)
        return Image.fromarray(pixels), 0


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_fills_with_the_mean_of_the_images(channels):
    mean = (0.5,) if channels == 1 else (0.8, 0.4, 0.2)
    settings = replace(SETTINGS, random_augment="rand-m9-n1", erasing=0.0)
    moved = AugmentedImages(Gray(*mean), settings, (16, 16), channels, mean)
    operations = moved._transform.transforms[1].transforms[0].ops
    operations[:] = [op for op in operations if op.name in ("Rotate", "ShearX", "ShearY", "TranslateXRel")]
    everywhere = torch.tensor(mean)[:, None, None].expand(-1, 16, 16)
    for place in range(20):
        torch.testing.assert_close(moved[place][0], everywhere, rtol=0, atol=5e-3)


def test_training_fills_with_the_mean_of_the_models_normalization(tmp_path, monkeypatch):
    given = []

    def recorded(*arguments):
        given.append(arguments[-1])
        return AugmentedImages(*arguments)

    monkeypatch.setattr("vl_attention.training.supervised.AugmentedImages", recorded)
    run(
        transfer(teacher_normalization=Normalization((0.1, 0.2, 0.3), (1, 1, 1))), tmp_path, replace(SETTINGS, epochs=1)
    )
    assert given == [(0.1, 0.2, 0.3)]


def test_images_without_automatic_augmentation_do_not_depend_on_the_fill():
    settings = replace(SETTINGS, random_augment="")
    first, second = (AugmentedImages(Colors(), settings, (16, 16), 3, fill)[5][0] for fill in (None, (0, 0, 0)))
    assert torch.equal(first, second)


def test_seeding_leaves_the_generators_as_they_were():
    def draw():
        return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002

    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    with seeded(1, 2):
        inside = draw()
    with seeded(1, 2):
        assert draw() == inside
    assert draw() == expected
    assert inside != expected


def test_targets_without_mixing_are_smoothed_labels():
    settings = TrainSettings(mixup=0, cutmix=0, label_smoothing=0.2)
    _, targets = Mixing(settings, 4)(torch.rand(2, 3, 4, 4), torch.tensor([1, 3]), 0)
    torch.testing.assert_close(targets, torch.tensor([[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]]))


def test_mixed_targets_sum_to_one():
    _, targets = Mixing(TrainSettings(), 4)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]), 0)
    torch.testing.assert_close(targets.sum(-1), torch.ones(4))


def test_plain_images_are_brought_to_size_and_channels():
    image, label = PlainImages(Colors(), (8, 8), 1)[3]
    assert image.shape == (1, 8, 8)
    assert label == 1


def test_lower_blocks_learn_slower_and_vectors_do_not_decay():
    student = transfer().student
    groups = parameter_groups(student, 0.3, 0.5)
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    wanted = {
        "head.weight": (1.0, 0.3),
        "head.bias": (1.0, 0.0),
        "norm.weight": (1.0, 0.0),
        "blocks.1.mlp.fc1.weight": (0.5, 0.3),
        "blocks.0.attn.qkv.weight": (0.25, 0.3),
        "blocks.0.attn.qkv.bias": (0.25, 0.0),
        "patch_embed.proj.weight": (0.125, 0.3),
        "pos_embed": (0.125, 0.0),
        "cls_token": (0.125, 0.0),
    }
    parameters = dict(student.named_parameters())
    for name, (scale, decay) in wanted.items():
        group = by_parameter[id(parameters[name])]
        assert (group["lr_scale"], group["weight_decay"]) == (scale, decay), name
    assert len(by_parameter) == len(parameters)


_REGISTERS, _VISION = "dinov2_with_registers.encoder.layer.0", "vision_model.encoder.layers.0"


@pytest.mark.parametrize(
    ("name", "block", "depth"),
    [
        # A word in the model's own name says nothing.
        ("dinov2_with_registers.layernorm.weight", _REGISTERS, 2),
        ("dinov2_with_registers.embeddings.register_tokens", _REGISTERS, 0),
        ("dinov2_with_registers.encoder.layer.0.norm1.weight", _REGISTERS, 1),
        ("classifier.weight", _REGISTERS, 2),
        # Norms stand before and after the blocks.
        ("vision_model.pre_layrnorm.weight", _VISION, 0),
        ("vision_model.post_layernorm.weight", _VISION, 2),
        ("vision_model.embeddings.patch_embedding.weight", _VISION, 0),
        ("vision_model.head.probe", _VISION, 2),
    ],
)
def test_parameters_of_transformers_are_before_in_or_after_the_blocks(name, block, depth):
    assert _depth(name, (block,)) == depth


def test_the_query_of_attention_pooling_is_a_token_and_learns_with_the_head():
    student = timm.create_model("vit_base_patch16_siglip_224", num_classes=2, **SIZE)
    groups = parameter_groups(student, 0.3, 0.5)
    found = next(g for g in groups if any(p is student.attn_pool.latent for p in g["params"]))
    assert (found["lr_scale"], found["weight_decay"]) == (1.0, 0.0)
    assert _UNDECAYED.search("vision_model.head.probe")
    assert not _UNDECAYED.search("attn_pool.kv.weight")
