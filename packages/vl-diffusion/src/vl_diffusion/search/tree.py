"""Search down a label tree: prune whole branches before evaluating their classes one by one.

Follows hierarchical diffusion classification (arXiv 2411.12073): from the root down, the children of the remaining
nodes are compared on a few draws and the best are kept; a search among the classes below them decides. Here all levels
share one nested set of draws, and nothing is evaluated twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from vl_diffusion.search.budgets import check_counts, limited, within_budget
from vl_diffusion.search.draw_order import nested_order
from vl_diffusion.search.protocol import Request, Search, SearchInput
from vl_diffusion.search.racing import Racing
from vl_diffusion.search.shortlist import search_among

Probe = Literal["leaves", "names"]
Score = Literal["min", "mean"]

_MAX_DEPTH = 100


@dataclass(frozen=True)
class Node:
    """A node of a label tree; a node without children is a class."""

    name: str
    children: tuple[Node, ...] = ()

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Names of the classes below the node; its own name if it has no children."""
        return tuple(name for child in self.children for name in child.leaves) or (self.name,)


@dataclass(frozen=True)
class LabelTree:
    """Descend a label tree, and search among the classes of the remaining branches.

    Raises:
        TypeError: If the tree is not made of mappings and sequences of names.
        ValueError: If a class is missing from the tree or repeated, if the tree has a name that is not a class, or if a
            setting is out of range.
    """

    tree: Mapping[str, Any] | Node
    """Nested mappings from a node's name to its children: another mapping, or a sequence of class names."""

    classes: tuple[str, ...]
    """All class names, in the order of their indices."""

    inner: Search = field(default_factory=Racing)
    """The search among the remaining classes; the levels use its draws."""

    keep: int = 3
    """Number of nodes kept at each level."""

    draws: int = 8
    """Draws on which the nodes of a level are compared."""

    probe: Probe = "leaves"
    """Candidates evaluated for a node: some of its classes (``"leaves"``), or its own name as a class (``"names"``)."""

    representatives: int = 3
    """For ``"leaves"``: maximum number of classes that represent a node, evenly spaced among those below it."""

    score: Score = "min"
    """For ``"leaves"``: score of a node, the minimum or the mean error of its representatives."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations per image; levels then use fewer draws, and the inner search gets the rest."""

    def __post_init__(self) -> None:
        check_counts(self, keep=1, draws=1, representatives=1, max_evaluations=1)
        if self.probe not in ("leaves", "names"):
            raise ValueError(f"probe must be leaves or names, got {self.probe!r}")
        if self.score not in ("min", "mean"):
            raise ValueError(f"score must be min or mean, got {self.score!r}")
        if isinstance(self.classes, str):  # type: ignore[unreachable]
            raise TypeError(f"classes must be a sequence of names, got the single string {self.classes!r}")
        if self.draws > self.inner.num_draws:
            raise ValueError(f"draws must be at most the inner search's ({self.inner.num_draws}), got {self.draws}")
        object.__setattr__(self, "classes", tuple(self.classes))
        root = self.tree if isinstance(self.tree, Node) else _node("", self.tree)
        object.__setattr__(self, "tree", root if root.children else Node("", (root,)))
        limited(self.inner, self.max_evaluations)
        leaves = Counter(self._root.leaves)
        for problem, names in (
            ("lacks the classes", [name for name in self.classes if name not in leaves]),
            ("has names that are not classes:", [name for name in leaves if name not in self._index]),
            ("must name each class once, but repeats", [name for name, count in leaves.items() if count > 1]),
        ):
            if names:
                raise ValueError(f"tree {problem} {', '.join(map(repr, names))}")

    @property
    def _root(self) -> Node:
        assert isinstance(self.tree, Node)
        return self.tree

    @property
    def inner_names(self) -> tuple[str, ...]:
        """Names of inner nodes, encoded after the classes as indices K, K + 1 ...; empty unless ``probe="names"``."""
        if self.probe == "leaves":
            return ()
        return tuple(dict.fromkeys(node.name for level in self._levels for node in level if node.children))

    @property
    def num_draws(self) -> int:
        return self.inner.num_draws

    def budget(self, num_classes: int) -> int:
        self._check(num_classes)
        probes, last = self._costs
        least = "one draw of every node that may be compared and of every class that may remain"
        within_budget(0, self.max_evaluations, sum(probes) + last, least)
        planned = self.draws * sum(probes) + limited(self.inner, self.max_evaluations).budget(last)
        return within_budget(planned, self.max_evaluations, sum(probes) + last, least)

    def requests(self, problem: SearchInput) -> Generator[Request, np.ndarray, int]:
        self._check(problem.num_classes)
        cache = _ErrorCache(problem.num_classes + len(self.inner_names), self.num_draws)
        probes, last = self._costs
        limit = self.budget(problem.num_classes)
        nodes = list(self._root.children)
        for level in range(len(probes)):
            if all(not node.children for node in nodes):
                break
            if len(nodes) > self.keep:
                # Reserve the minimum that the levels below and the last search need.
                left = limit - cache.count - sum(probes[level + 1 :]) - last
                nodes = yield from self._best(nodes, cache, left)
            nodes = [child for node in nodes for child in node.children or (node,)]
        alive = np.sort([self._index[node.name] for node in nodes])
        remaining = None if self.max_evaluations is None else limit - cache.count
        last_search = search_among(alive, limited(self.inner, remaining))
        classes, draws = next(last_search)
        while True:
            errors = yield from cache.errors(classes, draws)
            try:
                classes, draws = last_search.send(errors)
            except StopIteration as end:
                result: int = end.value
                return result

    def _best(self, nodes: list[Node], cache: _ErrorCache, left: int) -> Generator[Request, np.ndarray, list[Node]]:
        """The nodes with the smallest errors, in the order of the tree."""
        groups = [self._probes(node) for node in nodes]
        probes = np.unique(np.concatenate(groups))
        order = nested_order(self.num_draws)
        affordable = self.draws if self.max_evaluations is None else min(self.draws, left // len(probes))
        means = (yield from cache.errors(probes, order[:affordable])).mean(1)
        reduce = np.min if self.score == "min" else np.mean
        scores = np.array([reduce(means[np.searchsorted(probes, group)]) for group in groups])
        return [nodes[i] for i in np.sort(scores.argsort(kind="stable")[: self.keep])]

    def _probes(self, node: Node) -> np.ndarray:
        """Indices of the classes or names that are evaluated for a node."""
        if self.probe == "names" and node.children:
            return np.array([self._inner_index[node.name]])
        leaves, count = node.leaves, min(self.representatives, len(node.leaves))
        # The middle of each of `count` equal parts.
        return np.array([self._index[leaves[(2 * i + 1) * len(leaves) // (2 * count)]] for i in range(count)])

    @cached_property
    def _costs(self) -> tuple[list[int], int]:
        """Upper bounds: evaluations per draw at each level, and the number of classes that remain in the end."""
        probes, last = [], 1
        levels = self._levels
        for depth, level in enumerate(levels):
            # Nodes at this depth are the children of at most `keep` nodes, beside at most `keep` classes.
            parents = [self._root] if depth == 0 else [node for node in levels[depth - 1] if node.children]
            widths = sorted((sum(len(self._probes(c)) for c in parent.children) for parent in parents), reverse=True)
            survivors = self.keep if depth else 1
            sizes = sorted((len(parent.children) for parent in parents), reverse=True)
            if any(node.children for node in level):
                probes.append(sum(widths[:survivors]) + (self.keep if depth else 0))
            last = max(last, sum(sizes[:survivors]) + (self.keep if depth else 0))
        return probes, min(last, len(self.classes))

    @cached_property
    def _levels(self) -> list[list[Node]]:
        """Nodes of each level, without the root."""
        levels, level = [], list(self._root.children)
        while level:
            levels.append(level)
            level = [child for node in level for child in node.children]
        return levels

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    @cached_property
    def _inner_index(self) -> dict[str, int]:
        return {name: len(self.classes) + i for i, name in enumerate(self.inner_names)}

    def _check(self, num_classes: int) -> None:
        if num_classes != len(self.classes):
            raise ValueError(f"num_classes must be the {len(self.classes)} classes of the tree, got {num_classes}")


class _ErrorCache:
    """Errors received so far, so that nothing is requested twice."""

    def __init__(self, num_classes: int, num_draws: int) -> None:
        self._errors = np.zeros((num_classes, num_draws))
        self._known = np.zeros((num_classes, num_draws), bool)

    @property
    def count(self) -> int:
        """Number of evaluations so far."""
        return int(self._known.sum())

    def errors(self, classes: np.ndarray, draws: np.ndarray) -> Generator[Request, np.ndarray, np.ndarray]:
        """Errors ``(classes, draws)``, with one request for all classes that miss the same draws."""
        patterns, row = np.unique(self._known[np.ix_(classes, draws)], axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            if not pattern.all():
                some, new = classes[row.ravel() == i], draws[~pattern]
                self._errors[np.ix_(some, new)] = yield some, new
                self._known[np.ix_(some, new)] = True
        errors: np.ndarray = self._errors[np.ix_(classes, draws)]
        return errors


def _node(name: str, below: Any, depth: int = 0) -> Node:
    """Convert nested mappings and sequences to nodes; a node with a single child is replaced by it."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"tree must be at most {_MAX_DEPTH} levels deep, got more below {name!r}")
    if isinstance(below, Mapping):
        children = tuple(_node(child, further, depth + 1) for child, further in below.items())
    elif isinstance(below, Sequence) and not isinstance(below, str):
        if invalid := [leaf for leaf in below if not isinstance(leaf, str)]:
            raise TypeError(f"tree must have class names below {name!r}, got {repr(invalid[0])[:200]}")
        children = tuple(Node(leaf) for leaf in below)
    else:
        raise TypeError(
            f"tree must have a mapping or a sequence of class names below {name!r}, got {repr(below)[:200]}"
        )
    if not children:
        raise ValueError(f"tree must have class names below {name!r}, got {repr(below)[:200]}")
    return children[0] if len(children) == 1 else Node(name, children)
