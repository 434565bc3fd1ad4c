"""Schedules: which sample a run sees at each position, as samplers."""
