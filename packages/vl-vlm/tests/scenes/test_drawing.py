"""Images of scenes: geometry from the pixels alone, edges, sizes, patterns."""

import hashlib

import numpy as np
import pytest
from vl_vlm import Scene, SceneObject, draw_scene, make_scene
from vl_vlm.scenes.shapes import EXTENT, PATTERNS, SHAPES
from vl_vlm.scenes.vocabulary import COLORS
from vl_vlm.scenes.vocabulary import PATTERNS as PATTERN_NAMES
from vl_vlm.scenes.vocabulary import SHAPES as SHAPE_NAMES

# Areas in units of the squared radius, by hand.
AREAS = {
    "circle": np.pi * 0.9**2,
    "triangle": 1.67 * 0.88,
    "cross": 2 * (0.6 * 1.9) - 0.6**2,
    "square": (2 * 0.74) ** 2,
    "star": 1.1**2 * 10 * np.sin(np.pi / 5) * np.sin(np.pi / 10) / (2 * np.sin(np.pi * 7 / 10)),
    "ring": np.pi * (0.95**2 - 0.5**2),
    "diamond": 2 * 0.66 * 1.05,
}


def pixels(scene, size):
    return np.asarray(draw_scene(scene, size)).astype(float)


def share(scene, size=128):
    """Share of red in front of black in each pixel."""
    return pixels(scene, size)[..., 0] / COLORS["red"][0]


def alone(shape, **fields):
    placed = {"x": 0.5, "y": 0.5, "radius": 0.25, **fields}
    return Scene("attributes", (SceneObject("red", shape, **placed),), background=(0.0, 0.0, 0.0))


@pytest.mark.parametrize("shape", AREAS)
def test_areas_of_shapes(shape):
    area = share(alone(shape, x=0.47, y=0.52, turn=0.07)).mean()
    assert area == pytest.approx(AREAS[shape] * 0.25**2, rel=0.01)


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_shapes_lie_within_their_extent_and_are_turned_as_told(shape):
    grid = np.linspace(-2, 2, 801)
    u, v = np.meshgrid(grid, grid)
    inside = SHAPES[shape](u, v)
    assert inside.any()
    assert np.hypot(u, v)[inside].max() <= EXTENT + 1e-9
    if shape != "moon":
        assert (inside != inside[:, ::-1]).mean() < 0.001
    quarter = share(alone(shape, turn=1.0))  # the tangent of half a right angle
    assert np.abs(np.rot90(share(alone(shape))) - quarter).mean() < 0.001


def test_upwards_is_up():
    column = share(alone("triangle")).sum(1)
    rows = np.flatnonzero(column > 0.5)
    assert column[rows[2]] < column[rows[-3]]


def test_shapes_differ_from_one_another_at_every_size():
    for size in (16, 32):
        drawn = [share(alone(shape, radius=0.11), size) for shape in SHAPE_NAMES]
        apart = [np.abs(one - other).sum() for place, one in enumerate(drawn) for other in drawn[:place]]
        assert min(apart) > 0.01 * size


@pytest.mark.parametrize("size", [16, 32, 33, 100, 224])
def test_color_and_place_are_seen_in_the_pixels(size):
    """The color nearest to the one farthest from the background is that of the object there."""
    palette = np.array(list(COLORS.values()), float)
    for index in range(0, 30, 3):
        scene = make_scene(index)
        image = pixels(scene, size)
        for item in scene.objects:
            if item.pattern or item.shape in ("ring", "moon", "star"):
                continue
            found = image[int(item.y * size), int(item.x * size)]
            nearest = list(COLORS)[int(((palette - found) ** 2).sum(1).argmin())]
            assert nearest == item.color


def test_centers_of_mass_are_where_the_scene_says():
    middles = (np.arange(64) + 0.5) / 64
    for shape in ("circle", "cross", "square", "ring", "diamond"):
        mass = share(alone(shape, x=0.3, y=0.64, radius=0.2, turn=0.05), 64)
        assert (mass.sum(0) @ middles) / mass.sum() == pytest.approx(0.3, abs=2e-3)
        assert (mass.sum(1) @ middles) / mass.sum() == pytest.approx(0.64, abs=2e-3)


def test_edges_are_anti_aliased_and_a_small_image_is_a_large_one_averaged():
    small, large = pixels(make_scene(1), 32), pixels(make_scene(1), 128)
    averaged = large.reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(small - averaged).max() < 16
    assert np.abs(small - averaged).mean() < 0.5


@pytest.mark.parametrize("pattern", PATTERN_NAMES)
def test_a_pattern_has_two_colors_inside_the_shape_alone(pattern):
    plain, surface = (share(alone("square", pattern=name), 96) for name in (None, pattern))
    assert (surface[plain == 0] == 0).all()
    darker = (surface < 0.5)[plain == 1].mean()
    assert 0.2 < darker < 0.75
    grid = np.linspace(-0.7, 0.7, 141)
    assert 0.2 < PATTERNS[pattern](*np.meshgrid(grid, grid)).mean() < 0.75


def test_objects_stay_inside_the_image_and_apart():
    for index in range(600):
        items = make_scene(index, split=("train", "held_out")[index % 2]).objects
        for place, item in enumerate(items):
            reach = EXTENT * item.radius
            assert reach <= min(item.x, item.y, 1 - item.x, 1 - item.y)
            for other in items[:place]:
                assert np.hypot(item.x - other.x, item.y - other.y) >= reach + EXTENT * other.radius


def test_pixels_are_the_same_on_every_platform():
    """Digest of a run on Linux with NumPy 2.4."""
    content = b"".join(draw_scene(make_scene(index), 40).tobytes() for index in range(12))
    assert hashlib.sha256(content).hexdigest()[:16] == "b618f958ada52ff5"
