"""Fetching one URL from the open web, safely: addresses, robots, opt-outs, limits, and what the bytes are."""
