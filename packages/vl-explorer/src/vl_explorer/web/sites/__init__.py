"""Statements of sites on the use of their content: robots.txt, reservations, opt-outs."""
