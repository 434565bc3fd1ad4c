"""The script that distills two diffusion models into one: pruning, batches, and a run on a few made-up images."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import train_fashion_dit
import train_fashion_student
from diffusers import DiTTransformer2DModel
from vl_core.runs import Checkpoint, RunFolder
from vl_diffusion.models.loading import load_denoiser


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), 1))


def checkpoint(out: Path) -> Checkpoint:
    """Read the last checkpoint of a run."""
    found = RunFolder(out, json.loads((out / "config.json").read_text())).load_checkpoint()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def teacher() -> DiTTransformer2DModel:
    """The teachers' architecture with random weights, those that start at zero included."""
    torch.manual_seed(0)
    model = train_fashion_dit.build_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def predict(model: DiTTransformer2DModel) -> torch.Tensor:
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.eval()(images, timestep=torch.arange(4) * 300, class_labels=torch.tensor([0, 3, 9, 10])).sample


def test_pruning_nothing_gives_the_same_model(teacher: DiTTransformer2DModel) -> None:
    torch.testing.assert_close(predict(train_fashion_student.prune(teacher, [0, 1, 2, 3, 4, 5], 40)), predict(teacher))


def test_removed_blocks_are_those_that_are_not_named(teacher: DiTTransformer2DModel) -> None:
    pruned = train_fashion_student.prune(teacher, [0, 4], 40)
    expected = train_fashion_dit.build_model()
    expected.load_state_dict(teacher.state_dict())
    expected.transformer_blocks = torch.nn.ModuleList([expected.transformer_blocks[i] for i in (0, 4)])
    torch.testing.assert_close(predict(pruned), predict(expected))


def test_channels_that_carry_nothing_are_removed_without_effect(teacher: DiTTransformer2DModel) -> None:
    """The last dimension of each head, hidden unit and conditioning channel is silenced; then it is what goes."""
    silenced = train_fashion_dit.build_model()
    silenced.load_state_dict(teacher.state_dict())
    ends = torch.arange(39, 160, 40)
    with torch.no_grad():
        for block in silenced.transformer_blocks:
            for linear in (block.attn1.to_q, block.attn1.to_k, block.attn1.to_v):
                linear.weight[ends], linear.bias[ends] = 0, 0
            block.ff.net[2].weight[:, -16:] = 0
            block.norm1.linear.weight[:, -4:] = 0
            block.norm1.emb.timestep_embedder.linear_2.weight[:, -4:] = 0
    pruned, config = train_fashion_student.prune(silenced, [0, 1, 2, 3, 4, 5], 39), silenced.config
    assert pruned.config.attention_head_dim == 39
    assert pruned.config.num_attention_heads == config.num_attention_heads
    keep = torch.cat([torch.arange(39) + 40 * part for part in range(4)])
    for old, new in zip(silenced.transformer_blocks, pruned.transformer_blocks, strict=True):
        assert torch.equal(new.attn1.to_v.weight, old.attn1.to_v.weight[keep][:, keep])
        assert torch.equal(new.attn1.to_out[0].weight, old.attn1.to_out[0].weight[keep][:, keep])
        assert torch.equal(new.ff.net[0].proj.weight, old.ff.net[0].proj.weight[:-16, keep])
        # Attention's scores are divided by the root of 39 instead of 40 dimensions.
        scores = old.attn1.to_q.weight[keep][:, keep] * (39 / 40) ** 0.5
        torch.testing.assert_close(new.attn1.to_q.weight, scores)


def test_position_embedding_of_the_pruned_model_is_close_to_the_teachers(teacher: DiTTransformer2DModel) -> None:
    keep = torch.cat([torch.arange(39) + 40 * part for part in range(4)])
    pruned = train_fashion_student.prune(teacher, [0], 39)
    distance = pruned.pos_embed.pos_embed - teacher.pos_embed.pos_embed[..., keep]
    assert distance.square().mean() < 0.01 * teacher.pos_embed.pos_embed.square().mean()


@pytest.mark.parametrize(
    ("blocks", "head_dim", "message"),
    [
        ([], 40, r"blocks must start with 0, got \[\]"),
        ([1, 2], 40, r"blocks must start with 0, got \[1, 2\]"),
        ([0], 41, r"head_dim must be in 1\.\.40 .*, got 41"),
        ([0], 0, r"head_dim must be in 1\.\.40 .*, got 0"),
    ],
)
def test_pruning_refuses_what_it_cannot_keep(
    teacher: DiTTransformer2DModel, blocks: list[int], head_dim: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_fashion_student.prune(teacher, blocks, head_dim)


def test_half_of_a_batch_is_clean_and_wrong_labels_are_marked() -> None:
    images = torch.randint(256, (64, 1, 28, 28), generator=torch.Generator().manual_seed(2)).byte()
    labels = torch.arange(64) % 10
    args = train_fashion_student.argparse.Namespace(seed=0, batch=64, wrong_share=0.35, null_share=0.1)
    draw = train_fashion_student.batch_at
    index = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    x0, label, timestep, _, known = draw(3, index, images, labels, args)
    for first, again in zip(draw(3, index, images, labels, args), (x0, label, timestep), strict=False):
        torch.testing.assert_close(first, again, rtol=0, atol=0)
    given = images[index].float().div(255).mul(2).sub(1)
    torch.testing.assert_close(x0[::2], given[::2], rtol=0, atol=0)
    assert ((x0 - given)[1::2].abs().amax((1, 2, 3)) > 0.01).all()
    assert (timestep.diff() >= 0).all()
    true = labels[index]
    null = label == train_fashion_dit.NULL_CLASS
    assert torch.equal(known == 1, null | (label == true))
    assert 0 < null.sum() < (known == 0).sum() < 32


def test_a_run_saves_a_model_that_loads_as_a_denoiser(
    teacher: DiTTransformer2DModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", random.integers(0, 256, (64, 28, 28)))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(64) % 10)
    teacher.save_pretrained(tmp_path / "teacher")

    def run(out: str, *more: object) -> None:
        folder, teachers = tmp_path / out, tmp_path / "teacher"
        arguments = ["--data", tmp_path, "--out", folder, "--clean-teacher", teachers, "--augmented-teacher", teachers]
        arguments += ["--steps", 2, "--batch", 8, "--warm-up", 1, "--keep-blocks", 0, 5, "--checkpoint-every", 1, *more]
        monkeypatch.setattr(sys, "argv", ["train_fashion_student.py", *map(str, arguments)])
        train_fashion_student.main()

    run("first")
    run("second")
    first, second = (checkpoint(tmp_path / out).tensors for out in ("first", "second"))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    student = DiTTransformer2DModel.from_pretrained(tmp_path / "first/model")
    assert (len(student.transformer_blocks), student.inner_dim) == (2, 156)
    pruned = train_fashion_student.prune(teacher, [0, 5], 39).state_dict()
    name = "transformer_blocks.1.attn1.to_v.weight"
    assert not torch.equal(first[f"ema.{name}"], pruned[name])
    denoiser = load_denoiser(tmp_path / "first/model")
    assert denoiser.class_names == load_denoiser("fashion").class_names


def test_ranking_lists_every_choice_of_blocks_by_its_error(
    teacher: DiTTransformer2DModel,
) -> None:
    images, labels = torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.arange(8)
    args = train_fashion_student.argparse.Namespace(seed=0, batch=8, wrong_share=0.0, null_share=0.0)
    batch = train_fashion_student.batch_at(0, torch.arange(8), images, labels, args)
    signal = torch.linspace(1, 0, 1000)
    ranked = train_fashion_student.block_errors(teacher, batch, signal, (1 - signal**2).sqrt(), 3)
    assert sorted(blocks for _, blocks in ranked) == [[0, i, j] for i in range(1, 6) for j in range(i + 1, 6)]
    assert [error for error, _ in ranked] == sorted(error for error, _ in ranked)
    assert len(teacher.transformer_blocks) == 6
