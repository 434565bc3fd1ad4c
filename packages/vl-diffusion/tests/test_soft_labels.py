"""Conditions for mixtures of classes: what one-hot mixtures are, what mixtures are, and how gradients go through."""

from __future__ import annotations

import pytest
import torch
from vl_diffusion.models.denoiser import condition_rows, mix_conditions
from vl_diffusion.models.families.callable import CallableDenoiser
from vl_diffusion.models.families.class_conditional import accept_soft_labels
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.models.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule.from_config({"beta_schedule": "linear"})


@pytest.fixture(params=["pixel_dit_folder", "pixel_unet_folder", "dit_folder"])
def class_conditional(request):
    return load_denoiser(request.getfixturevalue(request.param))


def shown(denoiser, count=3):
    size = denoiser.image_size
    latent = denoiser.encode_images(torch.rand(count, denoiser.image_channels, size, size))
    return latent, torch.tensor([10, 400, 900])[:count]


@torch.no_grad()
def test_one_hot_mixtures_are_the_classes_themselves(class_conditional):
    names = class_conditional.class_names[3:7]
    condition = class_conditional.encode_classes(names)
    x_t, time = shown(class_conditional)
    hard = class_conditional.predict(x_t, time, condition[[2, 0, 3]])
    weights = torch.eye(4)[[2, 0, 3]]
    soft = class_conditional.predict(x_t, time, mix_conditions(class_conditional, condition, weights))
    torch.testing.assert_close(soft, hard, rtol=0, atol=1e-6)
    torch.testing.assert_close(class_conditional.predict(x_t, time, condition[[2, 0, 3]]), hard, rtol=0, atol=0)


def test_a_mixture_is_of_embeddings_and_has_a_gradient(class_conditional):
    condition = class_conditional.encode_classes(class_conditional.class_names)
    x_t, time = shown(class_conditional)
    weights = torch.full((3, 10), 0.1, requires_grad=True)
    output = class_conditional.predict(x_t, time, mix_conditions(class_conditional, condition, weights))
    output.square().sum().backward()
    assert weights.grad.abs().min() > 0
    tables = [module for module in class_conditional.model.modules() if type(module).__name__ == "SoftEmbedding"]
    for table in tables:
        quarters = table(torch.full((1, table.num_embeddings), 0.25))
        torch.testing.assert_close(quarters, 0.25 * table.weight.sum(0, keepdim=True))


def test_weights_keep_their_names_and_their_storage(tiny):
    model = tiny.pixel_dit()
    before = dict(model.named_parameters())
    names = list(model.state_dict())
    assert accept_soft_labels(model) == accept_soft_labels(model) == 11
    assert list(model.state_dict()) == names
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_a_network_without_label_embedding_cannot_mix(tiny):
    with pytest.raises(ValueError, match="must have a label embedding"):
        accept_soft_labels(tiny.pixel_unet(classes=None))


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux", "pixart"])
def test_prompts_mix_by_their_hidden_states(tiny, name):
    denoiser = as_denoiser(getattr(tiny, name)())
    condition = denoiser.encode_classes(["a cat", "a long dog", "ox"])
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], requires_grad=True)
    mixed = mix_conditions(denoiser, condition, weights)
    for key, value in condition.items():
        if value.is_floating_point():
            by_hand = 0.5 * value[0] + 0.25 * value[1] + 0.25 * value[2]
            torch.testing.assert_close(mixed[key][0], by_hand)
        else:
            torch.testing.assert_close(mixed[key][0], value.amax(0))
        torch.testing.assert_close(mixed[key][1], value[1])
    x_t = denoiser.encode_images(torch.rand(2, 3, denoiser.image_size, denoiser.image_size))
    time = denoiser.schedule.network_times([100, 700])
    with torch.no_grad():
        hard = denoiser.predict(x_t, time, condition_rows(condition, torch.tensor([1, 1])))
    soft = denoiser.predict(x_t, time, mixed)
    torch.testing.assert_close(soft[1], hard[1], rtol=1e-4, atol=1e-5)
    soft.square().mean().backward()
    assert weights.grad[0].abs().min() > 0


def test_class_indices_cannot_be_mixed_but_vectors_can():
    numbered = CallableDenoiser(lambda x_t, time, label: x_t, SCHEDULE, image_size=4, classes=("a", "b"))
    with pytest.raises(TypeError, match=r"takes class indices; implement mix_conditions"):
        mix_conditions(numbered, numbered.encode_classes(("a", "b")), torch.tensor([[0.5, 0.5]]))
    vectors = CallableDenoiser(
        lambda x_t, time, vector: x_t + vector[:, :1, None, None],
        SCHEDULE,
        image_size=4,
        encode_classes=lambda names: torch.tensor([[float(len(name)), 1.0] for name in names]),
    )
    mixed = mix_conditions(vectors, vectors.encode_classes(("ab", "abcd")), torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    torch.testing.assert_close(mixed, torch.tensor([[3.0, 1.0], [2.0, 1.0]]))
