"""Environments of the papers, registered with gymnasium as `vl_rl/…`."""
