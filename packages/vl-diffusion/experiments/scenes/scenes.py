"""Render solids on a ground before a wall, with the exact class and depth of every pixel.

Rays are cast through a pinhole camera at spheres, boxes and cylinders on a checked ground. Everything about a scene is
drawn from its seed and its number alone: solids, colors, light, haze, and the camera's height and tilt. Depth can be
inferred from the position on the ground, the size of the checks and the haze; class from shape and shading only, since
every surface can have any color.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CLASSES = ("wall", "ground", "sphere", "box", "cylinder")
"""Names of the classes in a mask, in their order."""

NEAREST, FARTHEST = 1.0, 10.0
"""Between these lie all depths. The camera is 1.2 to 1.8 above the ground, so think of meters."""

MOST_SOLIDS = 4
_HALF_WIDTH = 0.6  # of the image at a distance of one, a field of view of 62 degrees
_WALL, _GROUND, _SPHERE, _BOX, _CYLINDER = range(len(CLASSES))


@dataclass(frozen=True, eq=False)
class Views:
    """B images and their ground truth.

    Attributes:
        images: float32 ``(B, 3, size, size)`` in [0, 1].
        masks: int64 ``(B, size, size)``, class of the surface that the ray through a pixel's center meets.
        depths: float32 ``(B, 1, size, size)``, its distance along the camera's axis.
    """

    images: Tensor
    masks: Tensor
    depths: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Solids:
    """Up to M solids in each of B scenes, float32 ``(B, M)`` each. x is to the right, y up, and z ahead.

    Attributes:
        kind: int64, a place in `CLASSES`; -1 where there is none.
        x: Of the middle.
        z: Of the middle.
        radius: Of spheres and cylinders; half the width of boxes.
        height: Of boxes and cylinders. A sphere is as high as it is wide.
        turn: Of boxes, about the vertical, in radians.
    """

    kind: Tensor
    x: Tensor
    z: Tensor
    radius: Tensor
    height: Tensor
    turn: Tensor


@dataclass(frozen=True, eq=False)
class Scenes:
    """B scenes, a value ``(B,)`` each unless said otherwise; surfaces are the wall, the ground, and the M solids.

    Attributes:
        solids: What stands on the ground.
        wall: How far off the wall is.
        camera: Its height above the ground.
        tilt: How far it looks down, in radians.
        light: ``(B, 3)``, unit vector to the light.
        ambient: Share of the light that comes from everywhere.
        colors: ``(B, 2 + M, 3)``, of the surfaces.
        contrast: ``(B, 2 + M)``, how much darker every second check or stripe is.
        haze: How much of a surface's color is lost per unit of distance.
        air: ``(B, 3)``, the color of the haze.
    """

    solids: Solids
    wall: Tensor
    camera: Tensor
    tilt: Tensor
    light: Tensor
    ambient: Tensor
    colors: Tensor
    contrast: Tensor
    haze: Tensor
    air: Tensor

    def __len__(self) -> int:
        return len(self.wall)


def make_views(seed: int, indices: Iterable[int], *, size: int = 32, at_once: int = 64) -> Views:
    """Render the scenes of a seed with these numbers; a scene does not depend on the others."""
    numbers = list(indices)
    parts = [
        render(draw_scenes(seed, numbers[start : start + at_once]), size=size)
        for start in range(0, len(numbers), at_once)
    ]
    return Views(*(torch.cat([getattr(part, name) for part in parts]) for name in ("images", "masks", "depths")))


def draw_scenes(seed: int, indices: Iterable[int]) -> Scenes:
    """Draw scenes of two to four solids, of random colors and light."""
    rows = [np.random.default_rng([seed, index]).random(48 + 8 * MOST_SOLIDS) for index in indices]
    uniform = torch.from_numpy(np.stack(rows)).float()
    used = 0

    def draw(low: float, high: float, *shape: int) -> Tensor:
        nonlocal used
        count = int(np.prod(shape))
        values = uniform[:, used : used + count].view(-1, *shape)
        used += count
        return low + (high - low) * values

    count = draw(2, MOST_SOLIDS + 1, 1).floor()
    kind = draw(_SPHERE, _CYLINDER + 1, MOST_SOLIDS).long().clamp(max=_CYLINDER)
    kind[torch.arange(MOST_SOLIDS) >= count] = -1
    wall = draw(5, 9)
    z = 2.2 + draw(0, 1, MOST_SOLIDS) * (wall[:, None] - 3.2)
    solids = Solids(
        kind=kind,
        x=draw(-0.5, 0.5, MOST_SOLIDS) * z,
        z=z,
        radius=draw(0.35, 0.7, MOST_SOLIDS),
        height=draw(0.5, 1.8, MOST_SOLIDS),
        turn=draw(0, np.pi / 2, MOST_SOLIDS),
    )
    aside, up = draw(-1.2, 1.2), draw(0.4, 1.2)
    surfaces = 2 + MOST_SOLIDS
    return Scenes(
        solids=solids,
        wall=wall,
        camera=draw(1.2, 1.8),
        tilt=draw(0.05, 0.3),
        light=torch.stack([aside.sin() * up.cos(), up.sin(), -aside.cos() * up.cos()], -1),
        ambient=draw(0.3, 0.5),
        colors=draw(0.1, 1.0, surfaces, 3),
        contrast=draw(0.1, 0.5, surfaces),
        haze=draw(0.0, 0.1),
        air=draw(0.4, 0.9, 1).expand(-1, 3),
    )


def render(scenes: Scenes, *, size: int = 32, rays_a_side: int = 3) -> Views:
    """Cast ``rays_a_side`` squared rays, an odd number per side, through every pixel; the middle gives the truth."""
    rays = size * rays_a_side
    across = ((torch.arange(rays) + 0.5) / rays * 2 - 1) * _HALF_WIDTH
    up, right = torch.meshgrid(-across, across, indexing="ij")
    tilt = scenes.tilt[:, None]
    # The camera's axis has length one, so that a ray's parameter is the depth.
    y = up.flatten() * tilt.cos() - tilt.sin()
    z = up.flatten() * tilt.sin() + tilt.cos()
    direction = torch.stack([right.flatten().expand_as(y), y, z], -1)

    depth, normal, surface = _first_hits(scenes, direction)
    point = direction * depth[..., None]
    point[..., 1] += scenes.camera[:, None]
    color = _shade(scenes, point, normal, surface, depth)

    kinds = torch.cat([torch.tensor([[_WALL, _GROUND]]).expand(len(scenes), 2), scenes.solids.kind], 1)
    kind = kinds.gather(1, surface)
    middle = slice(rays_a_side // 2, None, rays_a_side)
    images = color.view(-1, size, rays_a_side, size, rays_a_side, 3).mean((2, 4)).permute(0, 3, 1, 2)
    return Views(
        images=images.clamp(0, 1).contiguous(),
        masks=kind.view(-1, rays, rays)[:, middle, middle].contiguous(),
        depths=depth.view(-1, 1, rays, rays)[:, :, middle, middle].contiguous(),
    )


def _first_hits(scenes: Scenes, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Depth ``(B, N)``, normal ``(B, N, 3)`` and surface ``(B, N)`` of the first hit of each of N rays."""
    surfaces = 2 + scenes.solids.kind.shape[1]
    depths = direction.new_full((len(scenes), surfaces, direction.shape[1]), torch.inf)
    normals = direction.new_zeros((*depths.shape, 3))
    depths[:, 0] = scenes.wall[:, None] / direction[..., 2]
    normals[:, 0, :, 2] = -1
    down = -direction[..., 1]
    depths[:, 1] = torch.where(down > 0, scenes.camera[:, None] / down.clamp(min=1e-6), torch.inf)
    normals[:, 1, :, 1] = 1
    for kind, meet in _MEET.items():
        scene, place = (scenes.solids.kind == kind).nonzero(as_tuple=True)
        x, z, radius, height, turn = (
            getattr(scenes.solids, name)[scene, place] for name in ("x", "z", "radius", "height", "turn")
        )
        # From the solid's foot, in a frame that is turned with it.
        origin = _turned(torch.stack([-x, scenes.camera[scene], -z], -1), turn)
        ray = _turned(direction[scene], turn[:, None])
        depth, normal = meet(origin[:, None], ray, radius[:, None], height[:, None])
        depths[scene, 2 + place] = depth
        normals[scene, 2 + place] = _turned(normal, -turn[:, None])
    depth, surface = depths.min(1)
    normal = normals.gather(1, surface[:, None, :, None].expand(-1, 1, -1, 3))[:, 0]
    return depth, normal, surface


def _meet_sphere(origin: Tensor, ray: Tensor, radius: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    center = torch.stack([torch.zeros_like(radius), radius, torch.zeros_like(radius)], -1)
    offset = origin - center
    depth = _smaller_root((ray * ray).sum(-1), (ray * offset).sum(-1), (offset * offset).sum(-1) - radius**2)
    normal = (offset + ray * depth.nan_to_num(posinf=0)[..., None]) / radius[..., None]
    return depth, normal


def _meet_cylinder(origin: Tensor, ray: Tensor, radius: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    flat_ray, flat_origin = ray[..., ::2], origin[..., ::2]
    a, b = (flat_ray * flat_ray).sum(-1), (flat_ray * flat_origin).sum(-1)
    side = _smaller_root(a, b, (flat_origin * flat_origin).sum(-1) - radius**2)
    point = origin + ray * side.nan_to_num(posinf=0)[..., None]
    side = torch.where((point[..., 1] >= 0) & (point[..., 1] <= height), side, torch.inf)
    around = torch.stack([point[..., 0], torch.zeros_like(side), point[..., 2]], -1) / radius[..., None]
    # The camera may be above it, and never below.
    top = (height - origin[..., 1]) / ray[..., 1]
    above = flat_origin + flat_ray * top[..., None]
    top = torch.where((top > 0) & ((above * above).sum(-1) <= radius**2), top, torch.inf)
    upright = torch.tensor([0.0, 1.0, 0.0]).expand_as(around)
    return torch.minimum(side, top), torch.where((top < side)[..., None], upright, around)


def _meet_box(origin: Tensor, ray: Tensor, radius: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.stack([-radius, torch.zeros_like(radius), -radius], -1)
    high = torch.stack([radius, height, radius], -1)
    to_low, to_high = (low - origin) / ray, (high - origin) / ray
    enter, axis = torch.minimum(to_low, to_high).max(-1)
    leave = torch.maximum(to_low, to_high).amin(-1)
    depth = torch.where((enter <= leave) & (enter > 0), enter, torch.inf)
    # The face that is met last of the three slabs, on the side that the ray comes from.
    face = torch.nn.functional.one_hot(axis, 3).to(ray)
    return depth, -ray.sign() * face


_MEET: dict[int, Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    _SPHERE: _meet_sphere,
    _BOX: _meet_box,
    _CYLINDER: _meet_cylinder,
}
"""Depths ``(n, N)``, infinite where a ray misses, and normals for N rays each with n solids, in the solids' frames."""


def _smaller_root(a: Tensor, half_b: Tensor, c: Tensor) -> Tensor:
    """Return the smaller root of ``a t^2 + 2 half_b t + c`` if it is real and positive, otherwise infinity."""
    discriminant = half_b**2 - a * c
    root = (-half_b - discriminant.clamp(min=0).sqrt()) / a
    return torch.where((discriminant > 0) & (root > 0), root, torch.inf)


def _turned(vector: Tensor, angle: Tensor) -> Tensor:
    """Rotate vectors ``(..., 3)`` about the vertical by ``(...)``."""
    cosine, sine = angle.cos(), angle.sin()
    x, y, z = vector.unbind(-1)
    return torch.stack([cosine * x - sine * z, y, sine * x + cosine * z], -1)


def _shade(scenes: Scenes, point: Tensor, normal: Tensor, surface: Tensor, depth: Tensor) -> Tensor:
    """Return colors ``(B, N, 3)``: checks on the ground, stripes on all else, diffuse light, and haze."""
    x, y, z = point.unbind(-1)
    checks = (x.floor() + z.floor()) % 2
    stripes = (4 * y).floor() % 2
    pattern = torch.where(surface == 1, checks, stripes)
    base = scenes.colors.gather(1, surface[..., None].expand(-1, -1, 3))
    base = base * (1 - scenes.contrast.gather(1, surface) * pattern)[..., None]
    facing = (normal * scenes.light[:, None]).sum(-1).clamp(min=0)
    lit = base * (scenes.ambient[:, None] + (1 - scenes.ambient[:, None]) * facing)[..., None]
    clear = torch.exp(-scenes.haze[:, None] * depth)[..., None]
    return clear * lit + (1 - clear) * scenes.air[:, None]
