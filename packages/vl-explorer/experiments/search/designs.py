"""Designs of the comparison, each with settings that were chosen for it by `tune_search.py`."""

from __future__ import annotations

from searching import Design, Policy

BASELINES = (Policy("greedy"), Policy("random"))
"""Have no settings, and take all results of a query."""

DESIGNS = {
    "whole": Design(
        results=100,
        share=0.05,
        seeds=range(5),
        policies=(
            Policy("gp", length_scale=0.4, noise=1.0, beta=0.3, tiers=(30, 100)),
            Policy("linear", weight_variance=0.1, noise=1.0, beta=1.0, tiers=(15, 60)),
            *BASELINES,
        ),
    ),
    "scouts": Design(
        results=100,
        share=0.05,
        seeds=range(10, 15),
        policies=(
            Policy("gp", length_scale=0.6, noise=1.0, beta=0.3, tiers=(30, 100), scouts=4, hopeless=0.75),
            Policy("linear", weight_variance=0.1, noise=1.0, beta=1.0, tiers=(30, 100), scouts=4, hopeless=0.75),
            *BASELINES,
        ),
    ),
    "fifty": Design(
        results=50,
        share=0.1,
        seeds=range(20, 25),
        policies=(
            Policy("gp", length_scale=0.4, noise=1.0, beta=0.3, tiers=(15, 60)),
            Policy("linear", weight_variance=0.1, noise=1.0, beta=0.3, tiers=(30, 100)),
            *BASELINES,
        ),
    ),
    "contrast": Design(
        results=50,
        share=0.1,
        seeds=range(30, 40),
        policies=(
            Policy("gp", length_scale=0.4, noise=1.0, beta=0.3, tiers=(30, 100), opening=24, contrast=0.5),
            Policy("linear", weight_variance=0.1, noise=1.0, beta=1.0, tiers=(15, 60), opening=24, contrast=0.5),
            *BASELINES,
        ),
    ),
}
"""By name: queries taken whole, as in the paper; queries that may be dropped after four images, the scouts, by the
process and the linear bandit; queries of at most fifty images under twice the budget; and the same with rewards by
contrast to the images of a first iteration of 24 queries, for the process and the linear bandit."""
