"""Divergence between maps: known values, independent of chunking."""

from math import log

import numpy as np
import pytest
import timm
import torch
from timm.models.beit import Beit
from vl_attention import Normalization
from vl_attention.analysis.maps import attention_maps, class_attention
from vl_attention.analysis.similarity import jensen_shannon, layer_means, map_divergence, map_similarity
from vl_attention.attention.inputs import AttentionInputs
from vl_attention.classifiers.classifier import Classifier


def tiny(name="vit_tiny_patch16_224", seed=0, **options):
    torch.manual_seed(seed)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
    model = timm.create_model(name, **{**size, **options})
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight.mul_(8)  # maps that differ visibly
    return model


@pytest.fixture
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def dense(p, q):
    p, q = p.double(), q.double()
    m = (p + q) / 2
    return ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)) / 2


def values(rows):
    return torch.tensor([row.divergence for row in rows], dtype=torch.float64)


def one_hot_tap(places, tokens=4):
    """Attention of each query to one place alone."""
    k = torch.eye(tokens)[None, None]
    return AttentionInputs(1000 * k[:, :, places], k, k, None, 1.0)


def test_disjoint_maps_diverge_by_ln_2_and_equal_ones_by_zero():
    first, second = one_hot_tap([0, 1, 2, 3]), one_hot_tap([1, 0, 3, 2])
    assert map_divergence(first, second).item() == pytest.approx(log(2), abs=1e-6)
    assert map_divergence(first, first).item() == 0
    assert map_divergence(first, one_hot_tap([0, 1, 3, 2])).item() == pytest.approx(log(2) / 2, abs=1e-6)


def test_divergence_of_two_coins_is_the_formulas():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    expected = (0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25) + log(1 / 0.75)) / 2
    assert jensen_shannon(p, q).item() == pytest.approx(expected, abs=1e-6)


def test_one_model_is_like_itself(images):
    model = tiny()
    assert values(map_similarity({"a": model, "b": model}, images)).abs().max() == 0


def test_a_pair_given_twice_is_compared_once(images):
    models = {"a": tiny(seed=0), "b": tiny(seed=1)}
    assert map_similarity(models, images, pairs=[("a", "b")] * 2) == map_similarity(models, images)


def test_a_classifier_is_looked_at_as_it_sees(images):
    model, halves = tiny(), Normalization((0.5,) * 3, (0.5,) * 3)
    wrapped = Classifier(model, halves)
    assert values(map_similarity({"a": model, "b": wrapped}, images, normalizations={"a": halves})).abs().max() == 0
    seen = class_attention(wrapped, images)
    torch.testing.assert_close(seen, class_attention(model, images, normalization=halves), rtol=0, atol=0)


def test_rows_equal_a_dense_computation_in_float64(images):
    models = {"a": tiny(seed=0), "b": tiny(seed=1)}
    rows = map_similarity(models, images, rows_at_once=4)
    maps = [attention_maps(model, images) for model in models.values()]
    expected = torch.cat([dense(maps[0][layer], maps[1][layer]).mean((0, 2)) for layer in range(3)])
    assert [(row.first_layer, row.second_layer, row.head) for row in rows] == [
        (layer, layer, head) for layer in range(3) for head in range(3)
    ]
    assert expected.min() > 1e-3
    torch.testing.assert_close(values(rows), expected, atol=1e-6, rtol=1e-5)


def test_order_of_the_models_does_not_matter(images):
    models = {"a": tiny(seed=0), "b": tiny(seed=1)}
    there, back = (map_similarity(models, images, pairs=[pair]) for pair in (("a", "b"), ("b", "a")))
    torch.testing.assert_close(values(there), values(back))


def test_batch_sizes_do_not_change_the_result(images):
    models = {"a": tiny(seed=0), "b": tiny(seed=1)}
    whole = map_similarity(models, images)
    loader = [(images[:1], torch.zeros(1)), (images[1:], torch.zeros(4))]
    parts = map_similarity(models, loader)
    assert {row.images for row in parts} == {5}
    torch.testing.assert_close(values(whole), values(parts), atol=1e-6, rtol=1e-5)


def test_other_depth_heads_and_tokens_are_paired(images):
    models = {"a": tiny(seed=0), "b": tiny(seed=1, depth=6, num_heads=4, class_token=False, global_pool="avg")}
    rows = map_similarity(models, images)
    assert [(row.first_layer, row.second_layer, row.head) for row in rows] == [(0, 1, None), (1, 3, None), (2, 5, None)]
    ours, theirs = (attention_maps(model, images) for model in models.values())
    patches = ours[1][:, :, 1:, 1:]
    patches = patches / patches.sum(-1, keepdim=True)
    expected = dense(patches.mean(1), theirs[3].mean(1)).mean()
    assert rows[1].divergence == pytest.approx(expected.item(), rel=1e-4)


def test_biases_are_cut_to_the_tokens_in_common(images):
    torch.manual_seed(2)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
    biased = Beit(**size, use_rel_pos_bias=True, use_abs_pos_emb=False)
    with torch.no_grad():
        for block in biased.blocks:
            block.attn.relative_position_bias_table.normal_()
    models = {"a": biased, "b": tiny(seed=1, class_token=False, global_pool="avg")}
    ours, theirs = (attention_maps(model, images) for model in models.values())
    patches = [found[:, :, 1:, 1:] / found[:, :, 1:, 1:].sum(-1, keepdim=True) for found in ours.values()]
    expected = torch.cat([dense(patches[layer], theirs[layer]).mean((0, 2)) for layer in range(3)])
    assert expected.min() > 1e-2
    torch.testing.assert_close(values(map_similarity(models, images)), expected, atol=1e-6, rtol=1e-5)


def test_layer_means_average_heads(images):
    models = {name: tiny(seed=seed) for seed, name in enumerate("abc")}
    rows = map_similarity(models, images, layers=[0, 2])
    pairs, matrix = layer_means(rows)
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    assert matrix.shape == (3, 3)
    assert np.isnan(matrix[:, 1]).all()
    assert matrix[0, 2] == pytest.approx(values(rows[3:6]).mean().item())


def test_empty_comparisons_are_refused(images):
    model = tiny()
    with pytest.raises(ValueError, match="unknown"):
        map_similarity({"a": model, "b": model}, images, pairs=[("a", "c")])
    with pytest.raises(ValueError, match="at least one pair"):
        map_similarity({"a": model}, images)
    with pytest.raises(ValueError, match="at least one image"):
        map_similarity({"a": model, "b": model}, [])
