"""Rewards of images, by run: what is scored again replaces what was known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter

from vl_explorer.store.records import Records


class Rewards(Records):
    """The part of a store that knows how much images are worth to a run."""

    def set_rewards(self, run_id: int, iteration: int, rewards: Mapping[str, float]) -> None:
        """Set rewards of images, all or none; earlier ones are replaced.

        Args:
            run_id: Of the run; runs with other targets have rewards of their own.
            iteration: Number of the iteration whose encoder scored them.
            rewards: By SHA-256. Images that are not in the store, such as forgotten ones, are passed over.

        Raises:
            ValueError: If a reward is not finite.
        """
        if odd := [(image, value) for image, value in rewards.items() if not math.isfinite(value)]:
            raise ValueError(f"rewards must be finite, got {odd[0][1]} for image {odd[0][0]} and {len(odd)} in all")
        rows = [(run_id, iteration, float(value), self.clock(), image) for image, value in rewards.items()]
        with self.database.writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO rewards (run_id, image, iteration, value, scored_at) "
                "SELECT ?, sha256, ?, ?, ? FROM images WHERE sha256 = ?",
                rows,
            )

    def rewards(self, run_id: int) -> dict[str, float]:
        """Rewards of a run by SHA-256, the largest first, and of equals in the order of the digests."""
        rows = self.database.rows(
            "SELECT image, value FROM rewards WHERE run_id = ? ORDER BY value DESC, image", (run_id,)
        )
        return {str(image): float(value) for image, value in rows}

    def query_rewards(self, run_id: int, *, top: int) -> dict[int, tuple[int, float]]:
        """Number of rewarded images of each query of a run, and the mean of the `top` largest of their rewards.

        Args:
            run_id: Of the run.
            top: How many rewards are averaged; of a query with fewer images, all.

        Returns:
            By the id of the query; those without such an image are left out. An image counts once for a query.

        Raises:
            ValueError: If `top` is below 1.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        rows = self.database.rows(
            """WITH found AS (
                SELECT DISTINCT queries.id AS query, sources.image AS image, value
                FROM queries JOIN results ON query_id = queries.id JOIN sources USING (url)
                JOIN rewards ON rewards.image = sources.image AND rewards.run_id = queries.run_id
                WHERE queries.run_id = ?)
            SELECT query, value FROM found ORDER BY query, value DESC""",
            (run_id,),
        )
        by_query = groupby(rows, key=itemgetter(0))
        values = {int(query): [float(value) for _, value in own] for query, own in by_query}
        return {query: (len(own), math.fsum(own[:top]) / len(own[:top])) for query, own in values.items()}

    def best_images(self, run_id: int, count: int) -> list[str]:
        """SHA-256 of the images with the largest rewards of a run whose files are there, in the order of `rewards`."""
        return list(self.best_rewards(run_id, count))

    def best_rewards(self, run_id: int, count: int) -> dict[str, float]:
        """Rewards of `best_images`, by SHA-256 and in their order."""
        rows = self.database.rows(
            "SELECT image, value FROM rewards JOIN images ON sha256 = image WHERE run_id = ? AND stored "
            "ORDER BY value DESC, image LIMIT ?",
            (run_id, count),
        )
        return {str(image): float(value) for image, value in rows}
