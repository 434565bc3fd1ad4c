"""Images of the webs that a task needs, by names of classes, groups and folders that were chosen by hand.

The lists are used to take a task's own images out of the web, and to count hits; a search never sees them. The rules:

- *animals*: living animals and those that are extinct, whole or in part, drawn or photographed. Creatures of fables,
  cartoon characters (Garfield, Snoopy), faces of the smileys that look like a cat, and toys are not.
- *vehicles*: what carries people or goods by land, water or air. Road signs, harbors, knots and rules of sailing,
  wheelchairs and skates are not.
- *food*: what is eaten or drunk, raw or cooked. Dishes and cutlery are not.
- *travel* (of the built-in web): vehicles and places, as the charts of Unicode group them.
- *footwear*: sandals, sneakers and ankle boots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Images that a task needs, in the words of each source."""

    photographs: frozenset[str] = frozenset()
    """Classes of Caltech-101."""
    groups: frozenset[str] = frozenset()
    """Groups of emoji, all of whose subgroups count."""
    subgroups: frozenset[str] = frozenset()
    """Subgroups of emoji."""
    not_subgroups: frozenset[str] = frozenset()
    """Subgroups that do not count, whatever the group."""
    folders: tuple[str, ...] = ()
    """Folders of Openclipart, with the slash behind them."""
    not_folders: tuple[str, ...] = ()
    """Folders and beginnings of file names inside these that do not count."""
    garments: frozenset[str] = frozenset()
    """Classes of Fashion-MNIST."""

    def of_emoji(self, entry: Mapping[str, Any]) -> bool:
        """Tell if an emoji counts, by its group and subgroup."""
        subgroup = entry["subgroup"]
        return (entry["group"] in self.groups or subgroup in self.subgroups) and subgroup not in self.not_subgroups

    def of_clip_art(self, path: str) -> bool:
        """Tell if a drawing of Openclipart counts, by its path."""
        return path.startswith(self.folders or "\0") and not path.startswith(self.not_folders or "\0")


_ANIMALS = """
    Leopards ant bass beaver brontosaurus butterfly cougar_body cougar_face crab crayfish crocodile crocodile_head
    dalmatian dolphin dragonfly elephant emu flamingo flamingo_head gerenuk hawksbill hedgehog ibis kangaroo llama
    lobster mayfly nautilus octopus okapi panda pigeon platypus rhino rooster scorpion sea_horse starfish stegosaurus
    tick trilobite wild_cat
"""
_VEHICLES = "Motorbikes airplanes car_side ferry helicopter ketch schooner"

BUILTIN_RULES = {
    "food": Rule(groups=frozenset({"food & drink"}), not_subgroups=frozenset({"dishware"})),
    "animals": Rule(groups=frozenset({"animals & nature"}), not_subgroups=frozenset({"flowers", "other plants"})),
    "travel": Rule(
        groups=frozenset({"travel & places"}), not_subgroups=frozenset({"time", "weather", "hotel", "globes & maps"})
    ),
    "footwear": Rule(garments=frozenset({"sandal", "sneaker", "ankle boot"})),
}
"""Tasks of the web that ships."""

FULL_RULES = {
    "animals": Rule(
        photographs=frozenset(_ANIMALS.split()),
        groups=frozenset({"animals & nature"}),
        not_subgroups=frozenset({"flowers", "other plants"}),
        folders=("animals/",),
        not_folders=("animals/fantasy/",),
    ),
    "vehicles": Rule(
        photographs=frozenset(_VEHICLES.split()),
        subgroups=frozenset({"ground transportation", "water transportation", "air transportation"}),
        folders=("transportation/",),
        not_folders=(
            *("transportation/roadsigns/", "transportation/street_sign", "transportation/road_runner"),
            *("transportation/boating/knot_", "transportation/boating/boating_rules"),
        ),
    ),
    "food": Rule(
        photographs=frozenset({"pizza", "strawberry"}),
        groups=frozenset({"food & drink"}),
        not_subgroups=frozenset({"dishware"}),
        folders=("food/",),
    ),
}
"""Tasks of the web of the study."""
