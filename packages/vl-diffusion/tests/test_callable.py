"""A function is wrapped in one line, and says what a model of the contract says."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from vl_diffusion import CallableDenoiser, DiffusionClassifier, Exhaustive, NoiseSchedule
from vl_diffusion.models.loading import as_denoiser

SCHEDULE = NoiseSchedule.from_config({"beta_schedule": "linear"})


def images(count, channels, size):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(2))


def test_a_function_of_labels_equals_its_network(tiny):
    network, scheduler = tiny.pixel_dit(), diffusers.DDPMScheduler()
    expected = DiffusionClassifier(network, tiny.CLASSES, scheduler=scheduler, search=Exhaustive(2))
    denoiser = CallableDenoiser(
        lambda x_t, time, label: network(x_t, timestep=time, class_labels=label).sample,
        scheduler,
        image_size=28,
        image_channels=1,
        classes=tiny.CLASSES,
    )
    classifier = DiffusionClassifier(denoiser, ["dog", "bird"], search=Exhaustive(2))
    image = images(2, 1, 28)
    found, every = classifier.classify(image).errors, expected.classify(image).errors
    np.testing.assert_allclose(found, every[:, [tiny.CLASSES.index("dog"), tiny.CLASSES.index("bird")]], rtol=1e-5)
    assert DiffusionClassifier(denoiser).classes == tiny.CLASSES
    with pytest.raises(ValueError, match=r"classes must be among the model's 10 .*got 'unicorn'"):
        DiffusionClassifier(denoiser, ["dog", "unicorn"])


def test_a_function_of_prompts_equals_its_pipeline(tiny):
    inner = as_denoiser(tiny.stable_diffusion_3())
    denoiser = CallableDenoiser(
        inner.predict,
        inner.schedule,
        image_size=32,
        encode_classes=inner.encode_classes,
        encode_images=inner.encode_images,
        takes_prompts=True,
    )
    classes, search = ("cat", "dog"), Exhaustive(2)
    settings = {"search": search, "prompt_template": "my {}"}
    found = DiffusionClassifier(denoiser, classes, **settings).classify(images(1, 3, 32))
    expected = DiffusionClassifier(inner, classes, **settings).classify(images(1, 3, 32))
    np.testing.assert_array_equal(found.errors, expected.errors)


def test_a_function_with_a_learned_variance_supports_vlb(tiny):
    inner = as_denoiser(tiny.dit_pipeline())
    denoiser = CallableDenoiser(
        inner.predict,
        inner.schedule,
        image_size=32,
        encode_classes=lambda classes: torch.tensor([int(name) for name in classes]),
        encode_images=inner.encode_images,
        learns_variance=True,
    )
    classes = [str(label) for label in range(10)]
    found, expected = (
        DiffusionClassifier(model, classes, search=Exhaustive(2), objective="vlb").classify(images(1, 3, 32))
        for model in (denoiser, inner)
    )
    np.testing.assert_array_equal(found.errors, expected.errors)


def test_the_schedule_gives_the_prediction_type_of_a_function():
    def velocity_of_gray(x_t, time, label):
        # The flow that leads back to an image of one gray: epsilon - x_0, where x_t = (1 - sigma) x_0 + sigma epsilon.
        gray = (label.float() * 2 - 1).view(-1, 1, 1, 1)
        return (x_t - gray) / time.view(-1, 1, 1, 1)

    schedule = NoiseSchedule.flow_matching(np.arange(1, 11) / 10, scale=1.0)
    denoiser = CallableDenoiser(velocity_of_gray, schedule, image_size=4, image_channels=1, classes=("black", "white"))
    classifier = DiffusionClassifier(denoiser, search=Exhaustive(5), error_space="sample")
    result = classifier.classify([torch.full((1, 4, 4), 0.25), torch.full((1, 4, 4), 0.9)])
    assert result.predicted_classes == ("black", "white")
    np.testing.assert_allclose(result.errors, [[0.25, 2.25], [3.24, 0.04]], rtol=1e-4)


def test_a_module_is_moved_to_the_device():
    class Network(torch.nn.Linear):
        pass

    network = Network(4, 4)
    denoiser = CallableDenoiser(network, SCHEDULE, image_size=4, classes=("a", "b"))
    assert as_denoiser(denoiser, device="meta").device == torch.device("meta")
    assert network.weight.is_meta


def test_modules_of_any_object_are_moved_to_the_device():
    class Ours:
        schedule, image_size, image_channels, class_names = SCHEDULE, 4, 3, ("a", "b")
        encode_images = encode_classes = predict = None

        def __init__(self):
            self.network = torch.nn.Linear(4, 4)

    assert as_denoiser(Ours(), device="meta").network.weight.is_meta


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "classes and encode_classes are both missing"),
        ({"classes": ("a", "b"), "takes_prompts": True}, "encode_classes must be passed with takes_prompts=True"),
    ],
)
def test_functions_without_conditions_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CallableDenoiser(lambda x_t, time, condition: x_t, SCHEDULE, image_size=4, **settings)
