"""Ensembles: the mean of the probabilities of several classifiers."""

import pytest
import timm
import torch
from torch import nn
from vl_attention import AttentionTransfer, Normalization
from vl_attention.classifiers.classifier import Classifier
from vl_attention.classifiers.ensemble import Ensemble, fit_weight


def tiny(seed=0, classes=4):
    torch.manual_seed(seed)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 1, "num_classes": classes}
    return timm.create_model("vit_tiny_patch16_224", **size).eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Fixed(nn.Module):
    """Answers by an image's first pixel, which is the image's number."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = torch.tensor(probabilities).log()

    def forward(self, images):
        return self.logits[images[:, 0, 0, 0].round().long()]


def test_probabilities_are_averaged_with_each_members_normalization(images):
    first, second = tiny(0), tiny(1)
    with torch.no_grad():
        first.head.weight.mul_(20)
        both = Ensemble([first, second], [None, Normalization.none()], weights=[3, 1])(images).exp()
        ours = first(Normalization.of(first)(images)).softmax(-1)
        theirs = second(images).softmax(-1)
    torch.testing.assert_close(both, 0.75 * ours + 0.25 * theirs)


def test_transfers_and_models_of_transformers_take_part(images):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8, num_labels=4
    )
    members = [AttentionTransfer(tiny(), seed=1), transformers.ViTForImageClassification(config)]
    with torch.no_grad():
        ensemble = Ensemble(members)
        found = ensemble(images)
        expected = members[0](images).logits.softmax(-1)
    assert not members[0].training
    torch.testing.assert_close(ensemble.log_probabilities(images)[0].exp(), expected)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3))


def test_classifiers_normalize_by_themselves(images):
    models = [tiny(0), tiny(1)]
    halves = Normalization((0.5,) * 3, (0.5,) * 3)
    with torch.no_grad():
        plain = Ensemble(models, [halves, None])(images)
        wrapped = Ensemble([Classifier(models[0], halves), Classifier(models[1])])(images)
    torch.testing.assert_close(wrapped, plain, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"normalizations\[0\] must be None, since Classifier normalizes"):
        Ensemble([Classifier(models[0]), models[1]], [halves, None])
    with pytest.raises(ValueError, match=r"same number of classes, got \{0: 4, 1: 5\}"):
        Ensemble([Classifier(models[0]), Classifier(tiny(1, classes=5))])


def test_a_weight_of_zero_leaves_a_member_out(images):
    first = tiny(0)
    found = Ensemble([first, tiny(1)], weights=[1, 0])(images)
    torch.testing.assert_close(found, first(Normalization.of(first)(images)).log_softmax(-1))


def test_classes_must_agree(images):
    with pytest.raises(ValueError, match="same number of classes"):
        Ensemble([tiny(), tiny(classes=5)])
    silent = Fixed([[0.5, 0.5]])
    with pytest.raises(ValueError, match="same number of classes"):
        Ensemble([tiny(), silent], [None, Normalization.none()])(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("weights", [[1], [0, 0], [-1, 2], [float("nan"), 1]])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be 2"):
        Ensemble([tiny(), tiny()], weights=weights)


def test_weights_are_saved_with_the_members():
    ensemble = Ensemble([tiny(0), tiny(1)], weights=[3, 1])
    other = Ensemble([tiny(2), tiny(3)])
    other.load_state_dict(ensemble.state_dict())
    assert other.weights.tolist() == [0.75, 0.25]


def test_the_fitted_weight_is_the_best_on_the_grid():
    none = Normalization.none()
    # The truth is class 0. Image 0 needs w > 0.4 of the first, image 1 needs w < 0.8.
    first = Fixed([[0.8, 0.2], [0.4, 0.6]])
    second = Fixed([[0.3, 0.7], [0.9, 0.1]])
    ensemble = Ensemble([first, second], [none, none])
    indexed = torch.arange(2.0)[:, None, None, None].expand(2, 3, 4, 4).clone()
    weight = fit_weight(ensemble, indexed, torch.zeros(2, dtype=torch.long), steps=11, batch_size=1)
    likelihood = {w / 10: (0.3 + 0.05 * w) * (0.9 - 0.05 * w) for w in range(5, 10)}
    assert weight == pytest.approx(max(likelihood, key=likelihood.get))
    assert ensemble.weights.tolist() == pytest.approx([weight, 1 - weight])
