"""Draw a batch in the engine, all requests stepping together, and print what memory that took.

    python -m benchmarks.memory.stepped ASKED

Started by `python -m benchmarks.memory`.
"""

from __future__ import annotations

import json
import sys

import torch

from benchmarks.memory.peak import Asked, print_taken
from benchmarks.subject import Subject, guided_claim, load_subject
from workers.engine import Engine
from workers.turn import Drawn, Failed, GivenBack


def main() -> None:
    """Draw what the first argument asks for, as JSON."""
    asked = Asked(**json.loads(sys.argv[1]))
    subject = load_subject(asked.model, torch.device(asked.device), asked.torch_dtype, asked.side)
    print_taken(subject.family.device, lambda: _draw(subject, asked))


def _draw(subject: Subject, asked: Asked) -> list[tuple[int, int]]:
    slots = len(asked.prompts)
    rows = subject.guided_rows * slots
    beside = subject.family.device.type == "cuda"  # as workers have it by default
    engine = Engine(subject.family, slots=slots, max_rows=rows, best_effort_slack_s=86400.0, overlap=beside)
    claims = (guided_claim(subject, asked.steps, seed, prompt) for seed, prompt in enumerate(asked.prompts))
    ended: list[Drawn | Failed | GivenBack] = [end for claim in claims if (end := engine.admit(claim)) is not None]
    while len(engine):
        turn = engine.turn()
        if turn.rows not in {0, rows}:
            raise RuntimeError(f"a turn had {turn.rows} rows, not {rows}")
        ended += turn.ended
    engine.close()
    return [_size(one) for one in ended]


def _size(end: Drawn | Failed | GivenBack) -> tuple[int, int]:
    if not isinstance(end, Drawn):
        raise TypeError(f"a picture was not drawn: {end}")
    height, width, _ = end.pixels.shape
    return height, width


if __name__ == "__main__":
    main()
