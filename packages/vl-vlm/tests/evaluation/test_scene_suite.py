"""Tasks of scenes: an oracle that reads the captions is right everywhere, and the baselines are at chance."""

import pytest
from vl_vlm import evaluate, is_true, scene_tasks
from vl_vlm.scenes.pairs import DrawnScenes


class Known:
    """Scenes instead of their images."""

    def __init__(self, drawn):
        self.scenes = drawn.scenes

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, item):
        return self.scenes[item]


def knows(scenes, texts):
    return [[float(is_true(text, scene)) for text in texts] for scene in scenes]


@pytest.mark.parametrize("split", ["test", "held_out"])
def test_a_model_that_knows_the_scenes_is_right_and_a_constant_one_at_chance(split):
    tasks = scene_tasks(12, size=16, split=split)
    assert len(tasks) == 13
    for name, task in tasks.items():
        assert isinstance(task.images, DrawnScenes)
        assert task.images[0] is not None
        task.images = Known(task.images)
        result = evaluate(knows, task, samples=10)
        metric = {"classification": "top-1 accuracy", "retrieval": "text-to-image recall@5"}.get(name, "group score")
        assert result.row(metric).value == pytest.approx(1.0), name
        chance = {"classification": 1 / 81, "retrieval": 5 / 12}.get(name, 1 / 6)
        assert result.row(metric, "constant").value == pytest.approx(chance), name


def test_refused():
    with pytest.raises(ValueError, match="count must be at least 2, got 1"):
        scene_tasks(1)
