"""Search for sampling schedules: algorithms over a callable network; they know no worker (torch)."""
