"""Compute: everything that runs a network."""
