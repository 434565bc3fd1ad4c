"""Rights of others: licenses, takedowns, and what may leave a store."""
