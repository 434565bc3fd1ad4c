"""Training: a method over a schedule, with meters and probes on the way."""
