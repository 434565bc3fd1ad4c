"""Learners: what they train, save and load."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from vl_explorer.learning.images import FoundImages
from vl_explorer.learning.learner import FixedLearner
from vl_explorer.learning.moco import MoCoLearner, paper_training, small_training
from vl_explorer.rewards.encoders import PixelEncoder
from vl_ssl.backbones.building import build_backbone

HEADS = {"hidden": 16, "projection": 8, "predictor_hidden": 8}


def learner(**options):
    torch.manual_seed(0)
    backbone = build_backbone("small_resnet", channels=3, image_size=16, width=2, depth="10", stem_stride=2)
    training = small_training(batch_size=4, base_learning_rate=0.5)
    return MoCoLearner(backbone, **{"image_size": 16, "settings": training, "updates": 2, **HEADS, **options})


@pytest.fixture
def images(tmp_path):
    """Six images, one of which is a file, gray and of another size."""
    draws = np.random.default_rng(0)
    found = [Image.fromarray(draws.integers(0, 255, (20, 16, 3)).astype(np.uint8)) for _ in range(5)]
    Image.fromarray(draws.integers(0, 255, (9, 30)).astype(np.uint8)).save(tmp_path / "gray.png")
    return FoundImages([str(place) for place in range(6)], [*found, tmp_path / "gray.png"])


def test_an_image_that_went_meanwhile_is_stood_in_for(images, tmp_path):
    (tmp_path / "gray.png").unlink()
    assert images[5] is images[0]
    assert len(list(images)) == 6
    with pytest.raises(FileNotFoundError):
        FoundImages(["gone"], [tmp_path / "gray.png"])[0]


def weights(trained):
    return torch.cat([value.flatten().double() for value in trained.method.state_dict().values()])


def test_training_changes_the_network_and_no_encoder_that_was_taken_before(images, tmp_path):
    trained = learner()
    before, shown = trained.encoder(), [images[place] for place in range(6)]
    features = before(shown)
    trained.train(images, 1, tmp_path / "run")
    assert trained.updates == 2
    assert (before(shown) == features).all()
    assert not np.allclose(trained.encoder()(shown), features)
    assert (before.name, trained.encoder().name) == ("network", "network after 2 updates")


def test_a_state_is_the_learner_of_that_moment(images, tmp_path):
    first, second = learner(), learner()
    first.train(images, 1, tmp_path / "one")
    first.save(tmp_path / "stage")
    second.load(tmp_path / "stage")
    assert second.updates == 2
    for each, folder in ((first, "two"), (second, "other")):
        each.train(images, 2, tmp_path / folder)
    assert torch.equal(weights(first), weights(second))


def test_iterations_draw_other_numbers(images, tmp_path):
    first, second = learner(), learner()
    first.train(images, 1, tmp_path / "one")
    second.train(images, 2, tmp_path / "two")
    assert not torch.equal(weights(first), weights(second))


def test_images_in_memory_and_read_one_by_one_both_train(images, tmp_path, monkeypatch):
    monkeypatch.setattr("vl_explorer.learning.moco._IN_MEMORY", 0)
    trained = learner()
    before = weights(trained)
    trained.train(images, 1, tmp_path / "run")
    assert not torch.equal(weights(trained), before)


def test_epochs_count_where_updates_are_not_given(images, tmp_path):
    trained = learner(updates=None, settings=small_training(batch_size=2, epochs=2))
    trained.train(images, 1, tmp_path / "run")
    assert trained.updates == 6


def test_a_scorer_stands_for_the_network(images, tmp_path):
    trained = learner(scorer=PixelEncoder(4))
    trained.train(images, 1, tmp_path / "run")
    assert trained.encoder().name == "pixels-4"
    assert trained.network().name == "network after 2 updates"


def test_the_heads_depend_on_the_seed_and_not_on_what_was_drawn_before():
    first = learner()
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    backbone = build_backbone("small_resnet", channels=3, image_size=16, width=2, depth="10", stem_stride=2)
    backbone.load_state_dict(first.method.backbone.state_dict())
    torch.random.set_rng_state(state)
    second = MoCoLearner(backbone, image_size=16, settings=small_training(batch_size=4), updates=2, **HEADS)
    assert torch.equal(weights(first), weights(second))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_papers_training():
    settings = paper_training()
    assert (settings.learning_rate, settings.batch_size, settings.epochs) == (pytest.approx(0.7), 224, 10)
    assert (settings.optimizer, settings.decay_share, settings.warmup_epochs) == ("lars", 0.0, 0.0)


def test_a_fixed_learner_stays(images, tmp_path):
    fixed = FixedLearner(PixelEncoder(4))
    fixed.train(images, 1, tmp_path / "run")
    fixed.save(tmp_path / "stage")
    fixed.load(tmp_path / "stage")
    assert (fixed.updates, fixed.encoder(), fixed.network().name) == (0, fixed.network(), "pixels-4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates": 0}, "updates must be at least 1, got 0"),
        ({"image_size": 4}, "image_size must be at least 8 pixels, got 4"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        learner(**options)


def test_states_of_other_learners_are_refused(images, tmp_path):
    learner().save(tmp_path / "stage")
    with pytest.raises(ValueError, match="must be of the learner"):
        learner(image_size=32).load(tmp_path / "stage")
    with pytest.raises(ValueError, match="must be of the learner"):
        FixedLearner(PixelEncoder(4)).load(tmp_path / "stage")
    (tmp_path / "stage" / "learner.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"learner\.safetensors"):
        learner().load(tmp_path / "stage")
