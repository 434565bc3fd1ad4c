"""Arguments, images and networks that the classifier refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gray_denoiser import OneGrayPerClass, gray, noisy_images
from torch import Tensor
from vl_diffusion import DiffusionClassifier, Exhaustive, Staged


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classes": []}, ValueError, "at least two names.*got 0"),
        ({"classes": ["dark"]}, ValueError, "at least two names.*got 1"),
        ({"classes": ["dark", "white", "dark"]}, ValueError, "unique, got 'dark'"),
        ({"classes": ["dark", " "]}, ValueError, r"blank, but entries \[1\]"),
        ({"classes": "dark"}, ValueError, "single string 'dark'"),
        ({"objective": "l3"}, ValueError, "one of l2, l1, huber, vlb, l2\\+vlb, got 'l3'"),
        ({"seed": -1}, ValueError, "seed"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
        ({"error_space": "x0"}, ValueError, "error_space must be one of epsilon, .*, got 'x0'"),
        ({"aggregation": "median"}, ValueError, "aggregation must be one of mean, vote, zscore, got 'median'"),
        ({"weighting": "cosine"}, ValueError, "weighting must be a function or one of .*, got 'cosine'"),
        ({"weighting": lambda time, alpha, sigma: -time}, ValueError, "weighting must give .* none negative"),
        ({"time_range": (0.7, 0.2)}, ValueError, r"time_range must be two numbers with .*got \(0.7, 0.2\)"),
        ({"time_range": (0.5,)}, ValueError, r"time_range must be two numbers with .*got \(0.5,\)"),
        ({"time_range": ("0", "1")}, ValueError, "time_range must be two numbers"),
        ({"prompt_template": 3}, ValueError, "prompt_template must be a string or a sequence of strings, got 3"),
        ({"prompt_template": [3]}, ValueError, "prompt_template must contain {} for the class name, got 3"),
        (
            {"prompt_template": "a photo"},
            ValueError,
            "prompt_template must contain {} for the class name, got 'a photo'",
        ),
        ({"prompt_combination": "worst"}, ValueError, "prompt_combination must be one of mean, .*, got 'worst'"),
        ({"prompts": {"dark": ["a dark one"]}}, ValueError, "prompts must be None for a model that takes class names"),
        ({"objective": "vlb"}, ValueError, "needs a model that learns a variance"),
        (
            {"objective": "vlb", "error_space": "sample"},
            ValueError,
            "'vlb' has a divergence, which has no error_space, got 'sample'",
        ),
        ({"classes": [1, 2]}, TypeError, "classes must be strings, got 1 of type int"),
        (
            {"search": "staged"},
            TypeError,
            r"search must be a search strategy, such as Staged\(\) or Exhaustive\(\), got 'staged'",
        ),
        ({"search": Staged}, TypeError, "search must be a search"),
        ({"batch_size": "64"}, TypeError, "batch_size must be an integer, got '64' of type str"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer, got 2.5 of type float"),
        ({"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
        ({"seed": None}, TypeError, "seed must be an integer, got None"),
        ({"temperature": None}, TypeError, "temperature must be a number, got None"),
        ({"model": "fashion"}, ValueError, "model must be an object, got the name 'fashion'; .* from_pretrained"),
        ({"model": Path("folder")}, ValueError, "model must be an object, got the name 'folder'; .* from_pretrained"),
        ({"model": {}, "classes": ["a", "b"]}, ValueError, "got dict"),
    ],
)
def test_invalid_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        DiffusionClassifier(**{"model": OneGrayPerClass()} | arguments)


@pytest.mark.parametrize(
    ("images", "ids", "error", "message"),
    [
        (noisy_images(2), [1.5, 2], TypeError, r"image_ids must be integers, got 1\.5 of type float"),
        (noisy_images(2), ["a", "b"], TypeError, "image_ids must be integers, got 'a' of type str"),
        (noisy_images(2), [0, 2**63], ValueError, "image_ids must fit into 64 bits, signed, got 9223372036854775808"),
        (noisy_images(2), [1], ValueError, "each of the 2 images, got 1"),
        ([], None, ValueError, "images is empty"),
        (torch.zeros(0, 1, 4, 4), None, ValueError, "images is empty"),
        ([torch.full((1, 4, 4), torch.nan)], None, ValueError, "image 0: .*NaN"),
        ([torch.zeros(1, 4, 4), torch.zeros(2, 4, 4)], None, ValueError, "image 1: .*shape"),
        ([torch.full((3, 4, 4), 7.0)], None, ValueError, "image 0: .*0, 1"),
    ],
)
def test_invalid_images_and_ids_are_refused(images, ids, error, message):
    with pytest.raises(error, match=message):
        DiffusionClassifier(OneGrayPerClass(), search=Exhaustive(1)).classify(images, image_ids=ids)


def test_a_model_without_names_needs_classes():
    denoiser = OneGrayPerClass()
    denoiser.class_names = None
    with pytest.raises(ValueError, match="classes is missing"):
        DiffusionClassifier(denoiser)
    assert DiffusionClassifier(denoiser, ["white", "black"]).classes == ("white", "black")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            np.nan,
            torch.float32,
            "'middle' at time step 125 must be finite, got nan .* float32; check the model's weights",
        ),
        (np.inf, torch.float16, "got inf from a network in float16; use float32 or bfloat16, or check"),
    ],
)
def test_nonfinite_network_outputs_are_an_error(value, dtype, message):
    class Broken(OneGrayPerClass):
        def predict(self, x_t: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
            output = super().predict(x_t, timestep, condition).to(dtype)
            output[condition == 0] = value
            return output

    with pytest.raises(ValueError, match=message):
        DiffusionClassifier(Broken(), search=Staged((2, 4), (2, 1))).classify(noisy_images(2))


def test_an_output_of_another_shape_is_refused():
    class TwiceTheChannels(OneGrayPerClass):
        def predict(self, x_t, timestep, condition):
            return torch.cat((x_t, x_t), 1)

    with pytest.raises(ValueError, match=r"predict\(\) must return \(5, 1, 4, 4\), got \(5, 2, 4, 4\)"):
        DiffusionClassifier(TwiceTheChannels(), search=Exhaustive(1)).classify(gray(0.3))
