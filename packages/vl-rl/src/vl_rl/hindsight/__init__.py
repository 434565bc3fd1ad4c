"""Generalized hindsight: families of tasks, environments that have them, and a replay buffer that relabels paths."""
