"""The atomic operations of a queue: Lua files, loaded once, called by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeAlias, cast

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

from pacer.jobs.keys import QueueKeys

Argument: TypeAlias = bytes | str | int
Reply: TypeAlias = "bytes | int | list[Reply] | None"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script with the names of a queue's keys in front."""

    text: str
    sha1: str

    def run(self, client: redis.Redis, keys: QueueKeys, *arguments: Argument) -> Reply:
        """Run it, loading it when the store does not have it (any more)."""
        names = keys.for_scripts
        try:
            reply = client.evalsha(self.sha1, len(names), *names, *cast("Sequence[str]", arguments))
        except NoScriptError:
            reply = client.eval(self.text, len(names), *names, *cast("Sequence[str]", arguments))
        return cast("Reply", reply)

    async def run_async(self, client: redis.asyncio.Redis, keys: QueueKeys, *arguments: Argument) -> Reply:
        """As `run`."""
        names = keys.for_scripts
        texts = cast("Sequence[str]", arguments)
        try:
            return await cast("Awaitable[Reply]", client.evalsha(self.sha1, len(names), *names, *texts))
        except NoScriptError:
            return await cast("Awaitable[Reply]", client.eval(self.text, len(names), *names, *texts))


@cache
def load(name: str) -> Script:
    """The script of lua/NAME.lua."""
    folder = files("pacer.jobs") / "lua"
    text = (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
    # The store names scripts by this hash; it guards nothing.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
