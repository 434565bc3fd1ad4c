r"""Distill two diffusion models of Fashion-MNIST, of clean and of augmented images, into a smaller one for both.

Both teachers are made by `train_fashion_dit.py`: 6 blocks of width 160, 3.25 M parameters. The student keeps 4 blocks
of the second and 39 of the 40 dimensions of each head (`prune`), 2.08 M parameters, and is trained on the teachers'
noise predictions and, with a smaller weight, on the true noise. Half of each batch is clean and gets its targets from
the first teacher; the other half is augmented and gets them from the second. Some images come with a wrong class and
the teacher's prediction as their only target, because a diffusion classifier also compares the errors of wrong
classes::

    VL_DATA=<folder with fashion_mnist/> \
        python packages/vl-diffusion/experiments/fashion/train_fashion_student.py --compile \
        --clean-teacher runs/fashion_dit/model --augmented-teacher runs/fashion_dit_augmented/model

Rerun to resume. `--out` then holds `model/` (float16), `checkpoint/`, `config.json` and `metrics.jsonl`. The
number of steps of a run is fixed when it starts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor
from torch.nn import functional as F
from vl_core.data import open_dataset
from vl_core.data.idx import read_idx
from vl_core.training import shuffled_index

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from augmentation import augmented
from train_fashion_dit import CLASSES, NULL_CLASS, build_scheduler
from training_options import add_training_options, stratified, train


def prune(teacher: DiTTransformer2DModel, blocks: list[int], head_dim: int) -> DiTTransformer2DModel:
    """Keep some blocks of a DiT and ``head_dim`` dimensions of each head; the new width is heads x ``head_dim``.

    The residual stream loses the channels at the end of each quarter of the sine-cosine position embedding, its lowest
    frequencies, so that the embedding of the narrower model is close to that of the wider one. Head dimensions, hidden
    units and conditioning channels are removed where the product of the norms of their weights is smallest.

    Args:
        teacher: The model to prune; not changed.
        blocks: Indices of the blocks to keep, starting with 0: the output layer uses that block's conditioning.
        head_dim: Dimensions to keep in each head.

    Returns:
        A new model, float32.

    Raises:
        ValueError: If ``blocks`` does not start with 0, or if ``head_dim`` is too large or gives a width that the
            position embedding cannot divide by 4.
    """
    if not blocks or blocks[0] != 0:
        raise ValueError(f"blocks must start with 0, got {blocks}; the output layer uses that block's conditioning")
    config = dict(teacher.config)
    heads, old_dim = config["num_attention_heads"], config["attention_head_dim"]
    width, old_width = heads * head_dim, heads * old_dim
    if not 0 < head_dim <= old_dim or width % 4:
        raise ValueError(f"head_dim must be in 1..{old_dim} and {heads} x head_dim divisible by 4, got {head_dim}")
    student = DiTTransformer2DModel.from_config(config | {"attention_head_dim": head_dim, "num_layers": len(blocks)})
    old = {name: value.float() for name, value in teacher.state_dict().items()}
    quarter = torch.arange(width // 4)
    residual = torch.cat([quarter + part * (old_width // 4) for part in range(4)])

    def largest(score: Tensor, count: int) -> Tensor:
        return score.topk(count).indices.sort().values

    def within_heads(score: Tensor) -> Tensor:
        kept = [largest(s, head_dim) + head * old_dim for head, s in enumerate(score.view(heads, old_dim))]
        return torch.cat(kept)

    new = {"pos_embed.proj.weight": old["pos_embed.proj.weight"][residual]}
    new["pos_embed.proj.bias"] = old["pos_embed.proj.bias"][residual]
    for place, block in enumerate(blocks):
        was, now = f"transformer_blocks.{block}.", f"transformer_blocks.{place}."
        embed = "norm1.emb.timestep_embedder.linear_2.weight"
        table = "norm1.emb.class_embedder.embedding_table.weight"
        modulation = torch.cat([residual + part * old_width for part in range(6)])
        reads = old[was + "norm1.linear.weight"].norm(dim=0)
        conditioning = largest(reads * (old[was + embed].norm(dim=1) + old[was + table].std(0)), width)
        if place == 0:
            output_conditioning = conditioning
        hidden_time = largest(
            old[was + embed].norm(dim=0) * old[was + "norm1.emb.timestep_embedder.linear_1.weight"].norm(dim=1), width
        )
        keys = within_heads(old[was + "attn1.to_q.weight"].norm(dim=1) * old[was + "attn1.to_k.weight"].norm(dim=1))
        values = within_heads(
            old[was + "attn1.to_v.weight"].norm(dim=1) * old[was + "attn1.to_out.0.weight"].norm(dim=0)
        )
        hidden = largest(
            old[was + "ff.net.0.proj.weight"].norm(dim=1) * old[was + "ff.net.2.weight"].norm(dim=0), 4 * width
        )
        rows_columns: dict[str, tuple[Tensor, Tensor | slice]] = {
            "norm1.emb.timestep_embedder.linear_1": (hidden_time, slice(None)),
            "norm1.emb.timestep_embedder.linear_2": (conditioning, hidden_time),
            "norm1.linear": (modulation, conditioning),
            "attn1.to_q": (keys, residual),
            "attn1.to_k": (keys, residual),
            "attn1.to_v": (values, residual),
            "attn1.to_out.0": (residual, values),
            "ff.net.0.proj": (hidden, residual),
            "ff.net.2": (residual, hidden),
        }
        for name, (rows, columns) in rows_columns.items():
            new[f"{now}{name}.weight"] = old[f"{was}{name}.weight"][rows][:, columns]
            new[f"{now}{name}.bias"] = old[f"{was}{name}.bias"][rows]
        for kind in ("weight", "bias"):
            # Attention divides by the root of the head's dimensions, which are fewer now.
            new[f"{now}attn1.to_q.{kind}"] = new[f"{now}attn1.to_q.{kind}"] * (head_dim / old_dim) ** 0.5
        new[now + table] = old[was + table][:, conditioning]
    both = torch.cat([residual, residual + old_width])
    new["proj_out_1.weight"] = old["proj_out_1.weight"][both][:, output_conditioning]
    new["proj_out_1.bias"] = old["proj_out_1.bias"][both]
    new["proj_out_2.weight"] = old["proj_out_2.weight"][:, residual]
    new["proj_out_2.bias"] = old["proj_out_2.bias"]
    student.load_state_dict(new)
    return student


def batch_at(
    step: int, index: Tensor, images: Tensor, labels: Tensor, args: argparse.Namespace
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw everything random of one step from the seed and the step alone, so that a resumed run is the same run.

    Returns:
        Images in [-1, 1], clean at even and augmented at odd indices; labels, some wrong and some `NULL_CLASS`;
        stratified time steps; noise; and a mask, 0.0 where the label is wrong.
    """
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    x0 = images[index].float().div(255)
    x0[1::2] = augmented(x0[1::2], generator, clean_share=0.0)
    label = labels[index]
    wrong = torch.rand(len(index), generator=generator) < args.wrong_share
    other = torch.randint(1, CLASSES, (len(index),), generator=generator)
    label = torch.where(wrong, (label + other) % CLASSES, label)
    null = torch.rand(len(index), generator=generator) < args.null_share
    label[null] = NULL_CLASS
    timestep = (stratified(len(index), generator) * 1000).long().clamp(max=999)
    noise = torch.randn(x0.shape, generator=generator)
    return x0.mul(2).sub(1), label, timestep, noise, (null | ~wrong).float()


def block_errors(
    teacher: DiTTransformer2DModel, batch: tuple[Tensor, ...], signal: Tensor, spread: Tensor, keep: int
) -> list[tuple[float, list[int]]]:
    """Mean squared distance from the teacher's predictions, before any training, of each choice of ``keep`` blocks."""
    x0, label, timestep, noise, _ = batch
    x_t = signal[timestep].view(-1, 1, 1, 1) * x0 + spread[timestep].view(-1, 1, 1, 1) * noise
    every, found = list(teacher.transformer_blocks), []
    with torch.no_grad():
        whole = teacher(x_t, timestep=timestep, class_labels=label).sample
        for rest in itertools.combinations(range(1, len(every)), keep - 1):
            chosen = [0, *rest]
            teacher.transformer_blocks = torch.nn.ModuleList([every[i] for i in chosen])
            predicted = teacher(x_t, timestep=timestep, class_labels=label).sample
            found.append((float(F.mse_loss(predicted, whole)), chosen))
    teacher.transformer_blocks = torch.nn.ModuleList(every)
    return sorted(found)


def export(out: Path, config: dict[str, object], ema: dict[str, Tensor]) -> None:
    """Write the EMA weights in float16, the schedule and the class names into `model/`."""
    model = DiTTransformer2DModel.from_config(config)
    model.load_state_dict(ema)
    model.half().save_pretrained(out / "model")
    build_scheduler().save_pretrained(out / "model")
    (out / "model" / "classes.json").write_text(json.dumps(open_dataset("fashion").classes, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VL_DATA", "data")) / "fashion_mnist")
    parser.add_argument("--out", type=Path, default=Path("runs/fashion_student"))
    parser.add_argument("--clean-teacher", type=Path, required=True, help="folder of the model of clean images")
    parser.add_argument("--augmented-teacher", type=Path, required=True, help="folder of the model of augmented images")
    parser.add_argument(
        "--keep-blocks", type=int, nargs="+", default=[0, 1, 4, 5], help="blocks of the augmented teacher to keep"
    )
    parser.add_argument("--head-dim", type=int, default=39, help="dimensions to keep in each of the four heads")
    parser.add_argument("--wrong-share", type=float, default=0.35, help="share of images shown with a wrong class")
    parser.add_argument("--null-share", type=float, default=0.05, help="share of images shown without their class")
    parser.add_argument("--true-noise", type=float, default=0.25, help="weight of the loss to the true noise")
    parser.add_argument(
        "--decay-share", type=float, default=0.78, help="share of the steps in which the learning rate decays"
    )
    parser.add_argument("--rank-blocks", action="store_true", help="print the cost of each choice of blocks, and stop")
    add_training_options(parser, steps=6500, batch=64, peak_lr=1e-3, warm_up=200)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.from_numpy(read_idx(args.data / "train-images-idx3-ubyte.gz"))[:, None]
    labels = torch.from_numpy(read_idx(args.data / "train-labels-idx1-ubyte.gz").astype(np.int64))
    signal = build_scheduler().alphas_cumprod.double().sqrt().float().to(device)
    spread = (1 - build_scheduler().alphas_cumprod.double()).sqrt().float().to(device)
    teachers = [
        DiTTransformer2DModel.from_pretrained(folder).float().to(device).eval().requires_grad_(False)
        for folder in (args.clean_teacher, args.augmented_teacher)
    ]
    if args.rank_blocks:
        index = torch.tensor([shuffled_index(place, len(images), args.seed) for place in range(args.batch)])
        batch = tuple(t.to(device) for t in batch_at(0, index, images, labels, args))
        for error, blocks in block_errors(teachers[1], batch, signal, spread, len(args.keep_blocks)):
            print(f"{error:.5f}  {' '.join(map(str, blocks))}")
        return

    torch.manual_seed(args.seed)
    # Evaluation mode on purpose: in training mode every block of this class drops its own labels independently.
    model = prune(teachers[1], args.keep_blocks, args.head_dim).to(device).eval()
    networks = [torch.compile(teacher) if args.compile else teacher for teacher in teachers]

    def loss(network: torch.nn.Module, index: Tensor, step: int) -> Tensor:
        x0, label, timestep, noise, known = (t.to(device) for t in batch_at(step, index, images, labels, args))
        x_t = signal[timestep].view(-1, 1, 1, 1) * x0 + spread[timestep].view(-1, 1, 1, 1) * noise
        target = torch.empty_like(noise)
        with torch.no_grad():
            for place, teacher in enumerate(networks):
                half = slice(place, None, 2)
                inputs = x_t[half].contiguous()
                target[half] = teacher(
                    inputs, timestep=timestep[half].contiguous(), class_labels=label[half].contiguous()
                ).sample.float()
        predicted = network(x_t, timestep=timestep, class_labels=label).sample.float()
        true_noise = ((predicted - noise).square().mean((1, 2, 3)) * known).mean()
        total: Tensor = F.mse_loss(predicted, target) + args.true_noise * true_noise
        return total

    # The fused attention's backward in bfloat16 takes ten times longer on a CPU than 49 patches written out.
    train(model, len(images), loss, args, decay_share=args.decay_share, math_attention=True, training_mode=False)
    export(args.out, dict(model.config), model.state_dict())


if __name__ == "__main__":
    main()
