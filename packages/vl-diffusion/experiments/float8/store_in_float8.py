"""Store the weight matrices of a trained model in float8 (e4m3), one byte each, as the diffusion models here ship.

    python packages/vl-diffusion/experiments/float8/store_in_float8.py FOLDER/diffusion_pytorch_model.safetensors

rewrites the file. Biases, norms and small tables keep their dtype. diffusers loads the file like any other and computes
in the dtype that it is asked for (``torch_dtype``). Measure the model again afterwards: float8 keeps four bits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SMALLEST = 4096
"""Fewest values of a matrix that is stored in float8."""


def in_float8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with every floating-point matrix or kernel of `SMALLEST` values or more in float8 e4m3.

    Raises:
        ValueError: If a value is not finite or beyond 448, the largest that the type holds.
    """
    stored = {}
    for name, value in tensors.items():
        large = value.ndim >= 2 and value.numel() >= SMALLEST and value.is_floating_point()
        # Written so that NaN fails it too.
        if large and not value.float().abs().max() <= torch.finfo(torch.float8_e4m3fn).max:
            raise ValueError(
                f"{name} must be finite and within 448, got a largest value of {value.float().abs().max()}"
            )
        stored[name] = value.to(torch.float8_e4m3fn) if large else value
    return stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="safetensors files to rewrite")
    for path in parser.parse_args().files:
        before = path.stat().st_size
        partial = path.with_suffix(".partial")
        save_file(in_float8(load_file(path)), partial, metadata={"format": "pt"})
        partial.replace(path)
        print(f"{path}: {before:,} to {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
