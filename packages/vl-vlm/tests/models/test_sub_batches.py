"""Sub-batches: gradients of the whole batch, with a part of its activations."""

import pytest
import torch
from torch import nn
from vl_vlm import encode_in_parts, small_dual_encoder
from vl_vlm.models.sub_batches import check_batch_statistics


def gradients(model, images, tokens, sub_batch):
    model.zero_grad()
    found = model(images, **tokens, sub_batch=sub_batch)
    loss = (model.logit_scale.exp() * found.images @ found.texts.T).log_softmax(1).diagonal().mean()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("size", [1, 3, 5, 7, 100])
def test_parts_of_any_size_give_the_gradients_of_the_batch(size):
    torch.manual_seed(0)
    captions = [f"caption number {i}" for i in range(7)]
    model = small_dual_encoder(captions, image_size=16, width=32, depth=1, text_depth=1, dim=8).double()
    images, tokens = torch.rand(7, 3, 16, 16, dtype=torch.float64), model.tokenize(captions)
    expected = gradients(model, images, tokens, 0)
    assert all(gradient.abs().max() > 1e-9 for gradient in expected[:3])
    for one, other in zip(gradients(model, images, tokens, size), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)  # features are float32


def saved_bytes(encode, inputs, size):
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = encode_in_parts(encode, (inputs,), size)
    return sum(kept.values()), result


def test_activations_of_the_parts_are_not_kept():
    network = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.GELU())))
    inputs = torch.rand(512, 64)
    whole, _ = saved_bytes(network, inputs, 0)
    parts, features = saved_bytes(network, inputs, 64)
    assert parts < whole / 4
    assert features.shape == (512, 64)


def test_dropout_draws_the_same_numbers_again():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    inputs = torch.ones(6, 4)
    features = encode_in_parts(layer, (inputs,), 2)
    features.sum().backward()
    assert layer[0].bias.grad.tolist() == pytest.approx((2.0 * (features.detach() != 0)).sum(0).tolist())


def test_batch_statistics_are_refused_in_training_mode():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match=r"sub_batch must be 0 for a model with batch normalization \(1\)"):
        check_batch_statistics(network)
    check_batch_statistics(network.eval())
    with pytest.raises(ValueError, match="sub_batch must be at least 0, got -1"):
        encode_in_parts(network, (torch.ones(2, 2),), -1)
