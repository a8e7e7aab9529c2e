"""Draw a batch in the engine, all requests stepping together, and print what memory that took.

    python -m benchmarks.memory.stepped ASKED

Started by `python -m benchmarks.memory`.
"""

from __future__ import annotations

import json
import sys

import torch

from benchmarks.memory.peak import Asked, print_taken
from benchmarks.subject import guided_claim, load_subject
from workers.engine import Engine
from workers.turn import Drawn


def main() -> None:
    """Draw what the first argument asks for, as JSON."""
    asked = Asked(**json.loads(sys.argv[1]))
    subject = load_subject(asked.model, torch.device(asked.device), asked.torch_dtype, asked.side)
    rows = subject.guided_rows * len(asked.prompts)
    beside = subject.family.device.type == "cuda"  # as workers have it by default

    def draw() -> list[tuple[int, int]]:
        engine = Engine(
            subject.family, slots=len(asked.prompts), max_rows=rows, best_effort_slack_s=86400.0, overlap=beside
        )
        for seed, prompt in enumerate(asked.prompts):
            engine.admit(guided_claim(subject, asked.steps, seed, prompt))
        ended = []
        while len(engine):
            turn = engine.turn()
            if turn.rows not in {0, rows}:
                raise RuntimeError(f"a turn had {turn.rows} rows, not {rows}")
            ended += turn.ended
        engine.close()
        return [one.pixels.shape[:2] for one in ended if isinstance(one, Drawn)]

    print_taken(subject.family.device, draw)


if __name__ == "__main__":
    main()
