"""Processes that this one starts and stops."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Child:
    """A running process in a session of its own, so that Ctrl-C reaches only its parent, who stops it in order."""

    name: str
    process: Process

    @classmethod
    async def start(
        cls, name: str, *command: str, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> Child:
        """Start a command with further environment variables."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **(env or {})},
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(name, process)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def ended(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        return await self.process.wait()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end, and end it when it does not within this time."""
        if not self.running:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_s):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
