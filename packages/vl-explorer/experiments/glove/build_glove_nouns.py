"""Build the word vectors that vl-explorer ships.

    VL_DATA=../shared/data python packages/vl-explorer/experiments/glove/build_glove_nouns.py

Reads `glove50_nouns/glove50.npz` below ``$VL_DATA``: words ``(25000,)`` and float16 vectors ``(25000, 50)`` of
glove.6B.50d, the 3,000 most frequent words and nouns of WordNet. Words without a letter are left out, mean and first
two principal components of the rest are taken out, and each row is rounded to 8-bit integers with a float16 scale. The
same input gives the same file on one machine, byte by byte.
"""

from __future__ import annotations

import argparse
import os
import re
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from vl_explorer.embeddings.glove import SHIPPED

COMPONENTS = 2


def build(words: list[str], vectors: np.ndarray) -> bytes:
    """Contents of the file for words and vectors ``(n, d)``, in the order of the alphabet."""
    kept = sorted((place for place, word in enumerate(words) if re.search("[a-z]", word)), key=words.__getitem__)
    rows = vectors[kept].astype(np.float64)
    rows -= rows.mean(axis=0)
    _, directions = np.linalg.eigh(rows.T @ rows)  # ascending
    top = directions[:, -COMPONENTS:]
    rows -= rows @ top @ top.T
    scales = (abs(rows).max(axis=1) / 127).astype(np.float16)
    integers = np.clip(np.rint(rows / scales[:, None].astype(np.float64)), -127, 127).astype(np.int8)
    text = zlib.compress("\n".join(words[place] for place in kept).encode(), 9)
    tensors = {"vectors": integers, "scales": scales, "words": np.frombuffer(text, np.uint8)}
    changes = f"{len(kept):,} words; mean and {COMPONENTS} principal components taken out; 8 bits with a scale a row"
    # One entry, since several come in any order.
    return save(
        tensors, {"about": f"Stanford glove.6B.50d (Pennington, Socher and Manning, 2014), PDDL 1.0; {changes}"}
    )


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("VL_DATA", "data"))
    parser.add_argument("--vectors", type=Path, default=data / "glove50_nouns" / "glove50.npz")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    args = parser.parse_args()
    with np.load(args.vectors) as arrays:
        contents = build(arrays["words"].tolist(), arrays["vectors"])
    args.out.write_bytes(contents)
    print(f"{args.out}: {len(contents):,} bytes")


if __name__ == "__main__":
    main()
