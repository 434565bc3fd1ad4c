"""Connections to addresses that were checked."""
