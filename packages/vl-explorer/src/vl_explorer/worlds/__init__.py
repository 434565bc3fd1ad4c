"""Webs on this machine: search, images and rewards without network, and with a known answer."""
