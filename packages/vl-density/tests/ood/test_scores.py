"""Every score against its formula, its direction, and bounded memory."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from vl_density.models.pixel_cnn import PixelCNN
from vl_density.models.pixel_cnn_pp import PixelCNNPP
from vl_density.ood.codecs import compressed_bits
from vl_density.ood.likelihoods import log_probs, mutate
from vl_density.ood.scores import WAIC, InputComplexity, LikelihoodRatio, NegativeLogLikelihood, Typicality
from vl_density.quantization import quantize


def model(seed=0, **options):
    torch.manual_seed(seed)
    return PixelCNN(**{"image_size": (6, 6), "channels": 1, "levels": 8, "width": 8, "layers": 2, **options}).eval()


def images(count=10, seed=0, levels=8, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(levels, (count, channels, 6, 6), generator=generator).float() / (levels - 1)


def nats(one, x):
    with torch.no_grad():
        return one.log_prob(x).double().numpy()


def test_scores_are_their_formulas():
    one, other, x, train = model(0), model(1), images(), images(20, 1)
    np.testing.assert_allclose(NegativeLogLikelihood(one).score(x), -nats(one, x), rtol=1e-6)
    np.testing.assert_allclose(LikelihoodRatio(one, other).score(x), nats(other, x) - nats(one, x), rtol=1e-4)
    typical = Typicality(one).fit(train).score(x)
    np.testing.assert_allclose(typical, np.abs(-nats(one, x) + nats(one, train).mean()), rtol=1e-4)
    found = np.stack([nats(one, x), nats(other, x)])
    np.testing.assert_allclose(WAIC([one, other]).score(x), found.var(0) - found.mean(0), rtol=1e-4)


@pytest.mark.parametrize("codec", ["png", "webp"])
def test_complexity_subtracts_the_bits_of_the_file_without_its_header(codec):
    one, x = model(levels=256), images(levels=256)
    pixels = (x * 255).round().to(torch.uint8).numpy()
    expected = -nats(one, x) / math.log(2) - compressed_bits(pixels, codec)
    np.testing.assert_allclose(InputComplexity(one, codec).score(x), expected, rtol=1e-4)
    assert compressed_bits(np.zeros((2, 3, 9, 9), np.uint8), codec).tolist() == [0, 0]


def test_the_codec_is_lossless_and_its_length_that_of_the_file():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), dtype=np.uint8)
    memory = io.BytesIO()
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(memory, "png", optimize=True)
    header = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(header, "png", optimize=True)
    assert compressed_bits(pixels)[0] == 8 * (memory.tell() - header.tell())


def test_maps_sum_to_the_score():
    one, other, x = model(0), model(1), images()
    for score in (NegativeLogLikelihood(one), LikelihoodRatio(one, other)):
        found = score.score_map(x)
        assert found.shape == (10, 1, 6, 6)
        np.testing.assert_allclose(found.sum((1, 2, 3)), score.score(x), rtol=1e-4)


def test_maps_are_those_of_evaluation_mode():
    torch.manual_seed(0)
    one = PixelCNNPP(image_size=(8, 8), channels=1, width=8, layers=1, dropout=0.5).train()
    x = quantize(torch.rand(3, 1, 8, 8))
    score = NegativeLogLikelihood(one)
    np.testing.assert_allclose(score.score_map(x).sum((1, 2, 3)), score.score(x), rtol=1e-4)
    assert one.training


def test_portions_give_what_one_batch_gives_and_the_mode_stays():
    one, x = model(), images(11)
    one.train()
    np.testing.assert_allclose(log_probs(one, x, batch_size=4), log_probs(one, x, batch_size=50), rtol=1e-5)
    assert one.training


def test_mutation_changes_the_wanted_share():
    x = torch.zeros(200, 1, 28, 28)
    changed = mutate(x, 0.2, generator=torch.Generator().manual_seed(0))
    share = (changed != 0).double().mean().item()
    expected = 0.2 * 255 / 256
    assert abs(share - expected) < 4 * (expected * (1 - expected) / x.numel()) ** 0.5
    levels = (changed * 255).round()
    torch.testing.assert_close(levels / 255, changed)
    assert torch.equal(mutate(x, 0.0), x)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: Typicality(model()).score(images()), RuntimeError, "Typicality needs the entropy"),
        (lambda: WAIC([model()]), ValueError, "models must be at least two"),
        (lambda: WAIC([model(), model(levels=4)]), ValueError, "densities must have one number of levels, got 4 and 8"),
        (lambda: LikelihoodRatio(model(), model(levels=4)), ValueError, "densities must have one number of levels"),
        (lambda: InputComplexity(model(), "flif").score(images()), ValueError, "codec must be one of png, webp"),
        (lambda: mutate(images(), 1.5), ValueError, "rate must lie between 0 and 1, got 1.5"),
        (lambda: NegativeLogLikelihood(model()).score(images() * 255), ValueError, r"image 0: "),
        (
            lambda: NegativeLogLikelihood(model()).score(images()[:, :, :5]),
            ValueError,
            r"images must have shape \(B, 1",
        ),
        (lambda: NegativeLogLikelihood(model()).score(images() * 0.9), ValueError, "images must lie on the grid k / 7"),
    ],
)
def test_wrong_input_is_named(action, error, message):
    with pytest.raises(error, match=f"^{message}"):
        action()
