"""Time that keeping the prompts' keys and values of cross-attention could save.

They depend on the prompt alone, and a network makes them again in every call. This takes the time inside the two
projections, in all layers, of a call of networks shaped like the published ones, with random weights, a prompt a row of
the batch. Their share of the call is the most that keeping them could save, before the memory and the gathering of rows
that it would cost::

    python packages/vl-diffusion/benchmarks/prompt_keys.py --out packages/vl-diffusion/benchmarks/prompt_keys.csv
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import PixArtTransformer2DModel, UNet2DConditionModel
from torch import Tensor
from vl_core.results import append_row, provenance


def stable_diffusion_1(batch: int, size: int, device: str) -> tuple[Any, Callable[[], Tensor]]:
    """Its U-Net on latents of an image of `size` pixels, and 77 tokens."""
    network = UNet2DConditionModel(
        sample_size=size // 8, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
    ).to(device, torch.bfloat16)
    x, text = _inputs((batch, 4, size // 8, size // 8), (batch, 77, 768), device)
    time_step = torch.full((batch,), 500, device=device)
    return network.eval(), lambda: network(x, time_step, encoder_hidden_states=text).sample


def pixart(batch: int, size: int, device: str) -> tuple[Any, Callable[[], Tensor]]:
    """Its transformer on latents of an image of `size` pixels, and 120 tokens."""
    network = PixArtTransformer2DModel(sample_size=size // 8, caption_channels=4096, use_additional_conditions=False)
    network = network.to(device, torch.bfloat16)
    x, text = _inputs((batch, 4, size // 8, size // 8), (batch, 120, 4096), device)
    time_step = torch.full((batch,), 500, device=device)
    sizes = {"resolution": None, "aspect_ratio": None}
    return (
        network.eval(),
        lambda: network(x, encoder_hidden_states=text, timestep=time_step, added_cond_kwargs=sizes).sample,
    )


NETWORKS = {"Stable Diffusion 1": stable_diffusion_1, "PixArt": pixart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="append rows to this CSV file")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, build in NETWORKS.items():
        for size in args.sizes:
            network, call = build(args.batch, size, device)
            share, seconds = measure(network, call, args.repeats)
            print(f"{name:20} {size} pixels: {seconds:.2f} s a call, {100 * share:.2f} % of it for the prompts' keys")
            if args.out:
                row = {
                    "network": name,
                    "pixels": size,
                    "batch": args.batch,
                    "seconds_a_call": f"{seconds:.4f}",
                    "share_percent": f"{100 * share:.3f}",
                }
                append_row(args.out, row | provenance())


@torch.no_grad()
def measure(network: Any, call: Callable[[], Tensor], repeats: int) -> tuple[float, float]:
    """Median share of a call's time in the projections of prompts, and a call's median seconds."""
    inside, started = [0.0], [0.0]
    _synchronized()

    def before(*_: Any) -> None:
        started[0] = _synchronized()

    def after(*_: Any) -> None:
        inside[0] += _synchronized() - started[0]

    for module_name, module in network.named_modules():
        if module_name.endswith(("attn2.to_k", "attn2.to_v")):
            module.register_forward_pre_hook(before)
            module.register_forward_hook(after)
    call()
    shares, seconds = [], []
    for _ in range(repeats):
        inside[0], start = 0.0, _synchronized()
        call()
        seconds.append(_synchronized() - start)
        shares.append(inside[0] / seconds[-1])
    return float(np.median(shares)), float(np.median(seconds))


def _inputs(image: tuple[int, ...], text: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, states = (torch.randn(shape, generator=generator).to(device, torch.bfloat16) for shape in (image, text))
    return x, states


def _synchronized() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
