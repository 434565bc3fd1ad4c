"""Evaluate the Caltech-101 diffusion model as a classifier, for its card.

Every test image of the ten classes is named by the class under which the model predicts the noise best::

    python packages/vl-diffusion/experiments/caltech/caltech_card.py

appends a row to `packages/vl-diffusion/results/caltech.csv`, and prints the card's table with the rows of the baselines
in that file. Predictions are kept in `--named`: rerun to resume. The model comes from `train_caltech_dit.py`; its
weights are not committed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from caltech_images import Images, add_data_options, put_aside, read_images
from safetensors.torch import load_file
from tqdm.auto import tqdm
from vl_core.results import append_row, provenance, read_rows
from vl_diffusion import DiffusionClassifier, Staged

sys.path.append(str(Path(__file__).resolve().parents[1]))  # modules that several studies share

from diffusion_tables import RESULTS, classifier_row, table

MODEL = Path("runs/caltech_dit/model")


def name_all(classifier: DiffusionClassifier, images: Images, path: Path) -> list[dict[str, str]]:
    """Classify each image; rows of `path` (`image`, `true`, `predicted`, `evaluations`) are not computed again."""
    done = {int(row["image"]) for row in read_rows(path)} if path.exists() else set()
    places = [place for place in range(len(images)) if place not in done]
    waiting = list(images.images[places].float().div(255))
    named = classifier.stream(waiting) if waiting else iter(())
    for index, result in tqdm(named, total=len(images), initial=len(done), desc="name", mininterval=5):
        truth = images.classes[int(images.labels[places[index]])]
        row = {"image": places[index], "true": truth, "predicted": result.predicted_classes[0]}
        append_row(path, row | {"evaluations": int(result.total_evaluations[0])})
    return sorted(read_rows(path), key=lambda row: int(row["image"]))


def count_parameters(folder: Path) -> int:
    """Number of values in the weights of a model's folder."""
    return sum(value.numel() for value in load_file(folder / "diffusion_pytorch_model.safetensors").values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_options(parser)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder that train_caltech_dit.py wrote")
    parser.add_argument("--out", type=Path, default=RESULTS / "caltech.csv")
    parser.add_argument("--named", type=Path, default=Path("runs/caltech_named.csv"), help="a row per image")
    parser.add_argument("--draws", type=int, nargs="+", default=[4, 12, 36], help="draws per class after each stage")
    parser.add_argument("--keep", type=int, nargs="+", default=[4, 2, 1], help="classes kept after each stage")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if not args.model.is_dir():
        parser.error(
            f"--model must be a trained model's folder, found none at {args.model}; its weights are not committed; "
            "train them with\n  python packages/vl-diffusion/experiments/caltech/train_caltech_dit.py --compile"
        )
    torch.set_num_threads(args.threads)
    images = put_aside(read_images(args.data, "train"))[1] if args.validate else read_images(args.data, "test")
    search = Staged(tuple(args.draws), tuple(args.keep))
    classifier = DiffusionClassifier.from_pretrained(
        args.model, search=search, seed=args.seed, batch_size=args.batch_size
    )
    named = name_all(classifier, images, args.named)
    place = {name: index for index, name in enumerate(images.classes)}
    row = classifier_row(
        data="Caltech-101, 64 px",
        model="DiT, class of least denoising error",
        seed=args.seed,
        truth=[place[line["true"]] for line in named],
        predicted=[place[line["predicted"]] for line in named],
        classes=len(images.classes),
        evaluations_per_image=sum(int(line["evaluations"]) for line in named) / len(named),
    ) | {"parameters": count_parameters(args.model), **provenance()}
    print(" ".join(f"{name}={value}" for name, value in row.items()))
    if not args.validate:
        append_row(args.out, row)
        print(table(read_rows(args.out)), end="")


if __name__ == "__main__":
    main()
