"""The shipped models for test-time adaptation on shipped images: they load, and adaptation helps."""

from __future__ import annotations

import pytest
import torch
from vl_core.corruptions import corrupt
from vl_core.data import open_dataset
from vl_diffusion import SmallCNN, TestTimeAdapter
from vl_diffusion.models.images import to_tensor
from vl_diffusion.models.loading import load_denoiser


@pytest.fixture(scope="module")
def clothes():
    return open_dataset("fashion", split="test")


def shown(clothes, places, corruption):
    return corrupt([clothes[i][0] for i in places], corruption, 5, image_ids=places)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classifiers_of_few_labels_classify_clean_images(clothes, seed):
    classifier = SmallCNN.from_pretrained(f"fashion_few/seed-{seed}")
    assert classifier.classes == tuple(clothes.classes) == load_denoiser("fashion_robust").class_names
    images = torch.stack([to_tensor(clothes[i][0]) for i in range(100)])
    with torch.no_grad():
        correct = classifier(images).argmax(1) == torch.as_tensor(clothes.labels[:100])
    assert correct.float().mean() > 0.65


def test_default_corrects_more_predictions_in_fog_than_it_spoils(clothes):
    places = range(1500, 1530)
    labels = torch.as_tensor(clothes.labels[1500:1530])
    adapter = TestTimeAdapter(SmallCNN.from_pretrained("fashion_few/seed-0"), "fashion_robust")
    result = adapter(shown(clothes, places, "fog"), image_ids=places)
    before, after = result.source_predictions == labels, result.predictions == labels
    assert result.forward_passes.tolist() == [45] * 30
    assert 0 < result.adapted.sum() < 30
    assert (after & ~before).sum() >= (before & ~after).sum() + 3
