"""The settings of `vl-explorer run`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from vl_core.cli import (
    Count,
    DeviceName,
    FolderPath,
    Groups,
    ImageSource,
    Metavar,
    Range,
    RunPath,
    Seed,
    check_values,
)
from vl_core.data import check_images

from vl_explorer.commands.settings.numbers import FiniteRange
from vl_explorer.commands.settings.run_inputs import check_encoder, check_engine_source, check_vocabulary, read_labels
from vl_explorer.exploring.settings import Exploration, paper_exploration, small_exploration
from vl_explorer.store.rights.licenses import check_allow
from vl_explorer.web.policy import Policy
from vl_explorer.worlds.relevance import BUILTIN_RULES, FULL_RULES

World = Literal["builtin", "full"]
Engine = Literal["captions", "openverse", "commons", "flickr", "serpapi", "brave", "url-list", "json"]
TARGETS: Mapping[World, tuple[str, ...]] = {"builtin": tuple(BUILTIN_RULES), "full": tuple(FULL_RULES)}
"""Targets of each world, the default first."""
LOCAL = "captions"
"""The engine whose images are on this machine."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Search for images that look like a target, and train on them without labels; rerun to resume.

    By default: food among 13,566 small images that ship, by captions on this machine, in a few minutes.
    """

    world: World | None = None
    """Web on this machine: "builtin", which ships, or "full", from the folder VL_DATA; default: builtin where no
    --engine is given."""

    target: str | None = None
    """Target that comes with a world: food, animals, travel or footwear of builtin, animals, vehicles or food of full;
    default: the first, where no --images are given."""

    images: ImageSource | None = None
    """Unlabeled images of your own task: a folder, an .npz or .parquet file, or a built-in data set."""

    test_images: ImageSource | None = None
    """Images of your test set, of which no version enters; each one found is counted."""

    engine: Engine | None = None
    """Search engine, in place of a world's: captions on this machine, a service of the web, lists of addresses, or any
    service that --engine-source describes."""

    engine_source: Annotated[str, Metavar("SOURCE")] | None = None
    """Data set with captions or classes for captions, Parquet file or folder for url-list, JSON description for
    json."""

    vocabulary: Annotated[str, Metavar("VOCABULARY")] = "glove"
    """Concepts that may be searched for: "glove", the nouns that ship, of a world those in its captions; "wordnet"; or
    a file with a concept a line."""

    labels: tuple[Annotated[str, Metavar("NAME")], ...] = ()
    """Names of what the images show, or @FILE with one per line: they are searched for, and of the concepts only the
    tenth that is nearest to them."""

    contact: Annotated[str, Metavar("CONTACT")] = ""
    """Page or mail address at which whoever runs a site reaches you; required for engines of the web."""

    strict: bool = False
    """Download only what its site says may be used for training; default: silence is no objection."""

    licenses: tuple[Annotated[str, Metavar("LICENSE")], ...] = ()
    """Classes of licenses such as public-domain, and identifiers such as CC-BY-4.0, of the results that are downloaded;
    "unknown" for those that name none. Default: any."""

    max_requests: Annotated[int, Range(0)] | None = None
    """Maximum number of requests to the engine, over all reruns; default: no limit."""

    max_cost: Annotated[float, FiniteRange(0)] | None = None
    """Maximum cost of these requests, in US dollars; default: no limit."""

    dry_run: bool = False
    """Show limits and cost of the engine, an estimate of requests and time, and how well the start encoder tells the
    target from other images; then stop, before anything is asked."""

    recipe: Literal["small", "paper"] = "small"
    """Settings of exploration and training that the following ones change: for small webs, or those of the paper."""

    iterations: Count | None = None
    """Rounds of search, download, scoring and training; more may be asked for when a run is resumed. Default: the
    recipe's, 10 for small."""

    queries: Count | None = None
    """Concepts that a round searches for; default: the recipe's, 24 for small, 256 for paper."""

    results: Count | None = None
    """Images that a search asks for; default: the recipe's, 12 for small, 100 for paper."""

    concept_model: Literal["gp", "linear", "nearest", "random"] = "gp"
    """Model of the rewards of concepts: a Gaussian process, a linear bandit, the similarity to the target's name, or
    none, which searches at random."""

    acquisition: Literal["mean-plus-std", "upper-bound", "thompson", "diverse", "greedy"] = "mean-plus-std"
    """Score by which concepts are chosen."""

    start_encoder: Annotated[str, Metavar("ENCODER")] = "distilled"
    """Encoder that scores images at first: "distilled", which ships; "imagenet"; "random" or "pixels", for
    ablations; or a folder of vl-ssl train."""

    learner: Literal["moco-v3", "none"] = "moco-v3"
    """Method of training on what was found, or none, which keeps the start encoder."""

    scored_by: Literal["start", "learner"] | None = None
    """Encoder that scores images: the start encoder in all rounds, or the network as it is trained, as in the paper.
    Default: start for small, learner for paper."""

    updates: Count | None = None
    """Updates of the network in each round; default: 40 for small, the epochs of the recipe for paper."""

    seed: Seed = 0
    """Seed of queries, weights, order and views."""

    store: FolderPath | None = None
    """Folder of a store, which several runs may share; default: --out."""

    name: str | None = None
    """Name of the run in its store; default: that of the folder --out."""

    quota: Annotated[float, FiniteRange(above=0)] | None = None
    """Megabytes that the image files may take; those with the lowest rewards go first. Default: no limit."""

    out: RunPath = Path("vl-explorer-run")
    """Folder for report.html, charts, result.json, learner/, and the store."""

    device: DeviceName = "cpu"
    """Device of the encoder and its training, or "auto"."""

    GROUPS: ClassVar[Groups] = {
        "Input": ("world", "target", "images", "test_images"),
        "Search": ("engine", "engine_source", "vocabulary", "labels", "max_requests", "max_cost", "dry_run"),
        "Web": ("contact", "strict", "licenses"),
        "Exploration": ("recipe", "iterations", "queries", "results", "concept_model", "acquisition", "seed"),
        "Training": ("start_encoder", "learner", "scored_by", "updates"),
        "Output": ("store", "name", "quota", "out"),
        "Runtime": ("device",),
    }

    ALIASES: ClassVar[Mapping[str, str]] = {"allow": "licenses", "name_or_folder": "start_encoder"}

    @property
    def world_name(self) -> World | None:
        """Name of the world; None where only an engine of one's own is asked for images of one's own."""
        if self.world is None and self.engine is not None and self.images is not None:
            return None
        return self.world or "builtin"

    @property
    def target_name(self) -> str | None:
        """Name of the world's target; None for images of one's own."""
        if self.images is not None or self.world_name is None:
            return None
        return self.target or TARGETS[self.world_name][0]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of what the images show, with files read."""
        return read_labels(self.labels)

    @property
    def source(self) -> str | None:
        """Source of the engine, with the home folder for ``~``."""
        return None if self.engine_source is None else os.path.expanduser(self.engine_source)  # noqa: PTH111

    @property
    def scorer(self) -> Literal["start", "learner"]:
        """The encoder that scores images, by the recipe where none is chosen."""
        if self.scored_by is None:
            return "start" if self.recipe == "small" or self.learner == "none" else "learner"
        return self.scored_by

    @property
    def encoder(self) -> str:
        """Name or folder of the start encoder, with the home folder for ``~``."""
        return os.path.expanduser(self.start_encoder)  # noqa: PTH111

    @property
    def policy(self) -> Policy:
        """Limits of the downloads."""
        return Policy(contact=self.contact, strict=self.strict)

    @property
    def quota_bytes(self) -> int | None:
        """Bytes that the image files may take."""
        return None if self.quota is None else max(1, round(self.quota * 10**6))

    @property
    def run_name(self) -> str:
        """Name of the run in its store."""
        return self.name or self.out.absolute().name

    @property
    def exploration(self) -> Exploration:
        """Every number of the exploration."""
        base = paper_exploration() if self.recipe == "paper" else small_exploration()
        results = self.results or base.results
        changes: dict[str, Any] = {
            "iterations": self.iterations or base.iterations,
            "queries": self.queries or base.queries,
            "results": results,
            # Of few results, few make a reward.
            "min_results": min(base.min_results, results),
            "scouts": min(base.scouts, results),
            "seed": self.seed,
        }
        if self.concept_model == "random":
            changes |= {"tiers": (), "masses": (1.0,)}
        return replace(base, **changes)

    def explored(self) -> dict[str, Any]:
        """All that the result is a function of, for the run's folder; a resumed run may have more iterations."""
        names = (
            *(
                "images",
                "test_images",
                "engine",
                "engine_source",
                "vocabulary",
                "strict",
                "recipe",
                "queries",
                "results",
            ),
            *("concept_model", "acquisition", "start_encoder", "learner", "updates", "seed", "name"),
        )
        found = {name: getattr(self, name) for name in names}
        return found | {
            "world": self.world_name,
            "target": self.target_name,
            "labels": list(self.label_names),
            "licenses": list(self.licenses),
            "scored_by": self.scorer,
        }

    def check(self) -> None:
        """Check what needs no file and no model.

        Raises:
            ValueError: If a number is out of range, or values do not go together.
        """
        check_values(self)
        check_allow(self.licenses)
        _ = self.policy
        self._check_input()
        self._check_engine()
        if self.concept_model == "random" and self.acquisition != "mean-plus-std":
            raise ValueError(
                f"--acquisition must be for other models than --concept-model random, got {self.acquisition}; "
                "leave it out"
            )
        if self.learner != "none" and self.start_encoder == "pixels":
            raise ValueError("--start-encoder pixels has no network to be trained; give --learner none with it")
        if self.scored_by == "learner" and self.learner == "none":
            raise ValueError("--scored-by learner is for --learner moco-v3, got none; leave it out")
        if self.updates is not None and self.learner == "none":
            raise ValueError(f"--updates is for --learner moco-v3, got {self.updates} with none; leave it out")
        if self.concept_model == "nearest" and self.target_name is None and not self.labels:
            raise ValueError("--concept-model nearest needs --labels, the names of what the images show, got none")

    def _check_input(self) -> None:
        if self.images is not None and self.target is not None:
            raise ValueError(f"--target is for images that come with a world, got {self.target} beside --images")
        if self.world is not None and self.engine is not None and self.images is not None:
            raise ValueError(f"--world must not be given with --engine, got {self.world}; leave one of them out")
        world = self.world_name
        if self.target is not None and world is not None and self.target not in TARGETS[world]:
            raise ValueError(
                f"--target must be one of {', '.join(TARGETS[world])} in --world {world}, got {self.target}"
            )

    def _check_engine(self) -> None:
        sourced = {LOCAL: "a data set", "url-list": "a Parquet file or folder", "json": "a description"}
        if self.engine in sourced and self.engine_source is None:
            raise ValueError(f"--engine {self.engine} needs --engine-source, {sourced[self.engine]}, got none")
        if self.engine not in sourced and self.engine_source is not None:
            raise ValueError(
                f"--engine-source is for --engine {', '.join(sourced)}, got {self.engine or 'none'}; leave it out"
            )
        if self.engine not in (None, LOCAL) and not self.contact:
            raise ValueError(
                f"--contact must be a page or a mail address at which sites reach you, got none; "
                f"--engine {self.engine} leads to the web"
            )

    def check_input(self) -> None:
        """Check what can be seen of images, vocabulary, encoder and engine without PyTorch.

        Raises:
            OSError: If a file does not exist.
            ValueError: If one is of another kind, or a service's key is not in the environment.
        """
        if self.images is not None:
            check_images([self.images], "--images", default_split="train", exclude=self.out, files=False)
        if self.test_images is not None:
            check_images([self.test_images], "--test-images", default_split="test", exclude=self.out, files=False)
        if self.world_name == "full":
            from vl_explorer.worlds.sources import data_folder

            data_folder()
        check_vocabulary(self.vocabulary)
        check_encoder(self.encoder)
        _ = self.label_names
        if self.engine is not None:
            check_engine_source(self.engine, self.source)
