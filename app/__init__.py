"""The gateway: HTTP in, a plan, a queue entry out; and the `pacer` command. Never imports torch."""
