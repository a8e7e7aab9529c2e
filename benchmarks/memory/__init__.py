"""The memory of the engine against that of the stock pipeline."""
