"""Parts that engines of the web share: budgets, keys, pacing, bounded answers, and fields of foreign JSON."""
