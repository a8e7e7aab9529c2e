"""Jobs between gateway and workers: messages, Redis keys, Lua scripts and event streams."""
