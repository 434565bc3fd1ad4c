"""Accuracy under shifts is counted correctly and does not depend on the batch size."""

import pytest
import timm
import torch
from vl_attention import AttentionTransfer
from vl_attention.analysis.shift_accuracy import evaluate_shifts
from vl_core.results import wilson_interval


@pytest.fixture
def images():
    # Smooth images, as photographs are: each shift changes them more the stronger it is.
    small = torch.rand(6, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (32, 32), mode="bicubic").clamp(0, 1)


def test_rows_count_correct_predictions_for_any_batch_size(images):
    labels = torch.tensor([0, 1, 0, 1, 0, 1])

    def invert(image, severity, generator):
        return 1 - image

    def predict(batch):
        bright = (batch.mean((1, 2, 3)) > 0.5).float()
        return torch.stack([1 - bright, bright], 1)

    batch = labels[:, None, None, None].float().expand(6, 3, 8, 8).clone()
    batch[0] = 1  # one is wrong as it is, and correct when it is inverted
    rows = evaluate_shifts(predict, batch, labels, {"invert": invert}, [0, 4], batch_size=4)
    assert [(row.shift, row.severity, row.correct, row.total) for row in rows] == [
        ("invert", 0, 5, 6),
        ("invert", 4, 1, 6),
    ]
    assert (rows[0].accuracy, rows[0].low, rows[0].high) == (5 / 6, *wilson_interval(5, 6))


def test_an_image_gets_the_same_shift_in_any_batch():
    def chance(image, severity, generator):
        return torch.rand((), generator=generator).expand_as(image)

    def answers(batch_size):
        seen = []

        def predict(batch):
            seen.append(batch[:, 0, 0, 0])
            return torch.zeros(len(batch), 2)

        evaluate_shifts(
            predict, torch.zeros(7, 3, 2, 2), torch.zeros(7), {"chance": chance}, [1], batch_size=batch_size
        )
        return torch.cat(seen)

    assert len(answers(7).unique()) == 7
    assert torch.equal(answers(2), answers(7))


def test_results_do_not_depend_on_the_batch_and_a_module_keeps_its_mode(images):
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=48, depth=1, num_classes=3, proj_drop_rate=0.5
    )
    transfer = AttentionTransfer(model, seed=0).train()
    labels = torch.arange(6) % 3
    found = [evaluate_shifts(transfer, images, labels, ["rotation"], batch_size=size) for size in (1, 4)]
    assert found[0] == found[1]
    assert transfer.training


def test_invalid_arguments_are_refused(images):
    labels = torch.zeros(6, dtype=torch.long)
    for shifts, severities, message in [
        (["fog"], [1], "shifts must be among"),
        ("rotation", [1], "list of names"),
        (["rotation"], [6], "severities"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate_shifts(lambda x: x, images, labels, shifts, severities)
    with pytest.raises(ValueError, match="same length"):
        evaluate_shifts(lambda x: x, images, labels[:2])
