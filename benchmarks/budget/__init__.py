"""What a budget is worth under load: fixed steps against budgets that leave the steps open.

`python -m benchmarks.budget` measures, `docs/benchmarks.md` tells how to read it.
"""
