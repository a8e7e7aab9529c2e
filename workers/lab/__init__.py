"""The lab: searches schedules for a model, measures them on held-out seeds and shows them (runs networks)."""
