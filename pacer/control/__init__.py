"""Decisions as pure functions over numbers: planner and batcher. No torch, no redis."""
