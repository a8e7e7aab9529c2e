"""Searching schedules for a model, and the evidence that they hold."""
