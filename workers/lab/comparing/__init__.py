"""Comparing methods side by side on seeds that none of them has seen."""
