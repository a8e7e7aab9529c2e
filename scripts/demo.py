"""What a schedule is worth: the same prompt, seed and number of steps, drawn with two schedules.

Starts a whole system, sends it real HTTP requests, prints a table and writes out/demo.png. Run by `make demo`.
"""

from __future__ import annotations

import io
import math
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clients.client import Pacer
from scripts.demo_grid import Cell, Row, draw_grid
from scripts.live import live_system

MODEL = "shapes-64"
SEED = 7
BUDGETS = (4, 6, 10)
TEACHER_STEPS = 50
PROMPTS = (
    "a red square above a green square on a black background",
    "a yellow triangle below a cyan square on a black background",
    "three pink squares on a white background",
    "a blue triangle on a white background",
)
OUT = Path("out/demo.png")


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture that came back.

    Attributes:
        pixels: 8-bit RGB, shape (height, width, 3).
        schedule: the name of the schedule that was run.
        latency_s: seconds from sending the request to holding the picture.
    """

    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    schedule: str
    latency_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt: the teacher's picture, and by budget the stock uniform schedule's and the optimised one's."""

    prompt: str
    teacher: Drawing
    by_steps: dict[int, tuple[Drawing, Drawing]]


def uniform(steps: int) -> dict[str, Any]:
    """Request fields for Euler on a uniform grid, 1 to 0."""
    return {"sigmas": np.linspace(1.0, 0.0, steps + 1).tolist(), "solver": "euler"}


def draw(pacer: Pacer, prompt: str, fields: dict[str, Any]) -> Drawing:
    """Ask for one picture over HTTP and wait for it."""
    start = time.perf_counter()
    picture = pacer.generate(prompt, model=MODEL, seed=SEED, **fields)
    latency_s = time.perf_counter() - start
    with Image.open(io.BytesIO(picture.data)) as image:
        return Drawing(np.asarray(image.convert("RGB")), picture.facts["schedule"], latency_s)


def psnr_db(drawing: Drawing, teacher: Drawing) -> float:
    """Peak signal-to-noise ratio of 8-bit pixels, decibels; infinite for equal pictures."""
    error = np.mean((drawing.pixels.astype(np.float64) - teacher.pixels) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(255.0**2 / error))


def compare(pacer: Pacer, prompt: str) -> Comparison:
    """Draw one prompt with the teacher and with both schedules of every budget."""
    teacher = draw(pacer, prompt, uniform(TEACHER_STEPS))
    pairs = {n: (draw(pacer, prompt, uniform(n)), draw(pacer, prompt, {"steps": n})) for n in BUDGETS}
    return Comparison(prompt, teacher, pairs)


def detail_table(comparisons: list[Comparison]) -> Table:
    """Every picture: prompt, steps, schedule, PSNR to the teacher, latency."""
    table = Table(title=f"{MODEL}, seed {SEED}", title_justify="left")
    for name in ("prompt", "steps", "schedule", "PSNR to teacher", "latency"):
        table.add_column(name, justify="left" if name in ("prompt", "schedule") else "right")
    for comparison in comparisons:
        table.add_row(comparison.prompt, str(TEACHER_STEPS), "teacher, uniform", "", _ms(comparison.teacher))
        for steps, pair in comparison.by_steps.items():
            qualities = [psnr_db(drawing, comparison.teacher) for drawing in pair]
            for name, drawing, quality in zip(("uniform", pair[1].schedule), pair, qualities, strict=True):
                style = "bold green" if quality > min(qualities) else "default"
                table.add_row("", str(steps), name, f"[{style}]{quality:.1f} dB[/]", _ms(drawing))
        table.add_section()
    return table


def _ms(drawing: Drawing) -> str:
    return f"{1000 * drawing.latency_s:.0f} ms"


def mean_table(comparisons: list[Comparison]) -> Table:
    """The mean over the prompts, by budget."""
    table = Table(title=f"Mean PSNR to the teacher over {len(comparisons)} prompts", title_justify="left")
    for name in ("steps", "uniform", "optimised", "gain"):
        table.add_column(name, justify="right")
    for steps in BUDGETS:
        means = [
            float(np.mean([psnr_db(one.by_steps[steps][which], one.teacher) for one in comparisons]))
            for which in (0, 1)
        ]
        table.add_row(str(steps), f"{means[0]:.1f} dB", f"{means[1]:.1f} dB", f"{means[1] - means[0]:+.1f} dB")
    return table


def grid_rows(comparisons: list[Comparison]) -> list[Row]:
    """The comparisons as rows of the picture."""
    rows = []
    for one in comparisons:
        cells = [Cell(one.teacher.pixels, "")]
        for pair in one.by_steps.values():
            qualities = [psnr_db(drawing, one.teacher) for drawing in pair]
            cells += [
                Cell(drawing.pixels, f"{quality:.1f} dB", better=quality > min(qualities))
                for drawing, quality in zip(pair, qualities, strict=True)
            ]
        rows.append(Row(one.prompt, cells))
    return rows


def main() -> int:
    """Run the demonstration; 0 when the pictures are there."""
    # SIGTERM, too, is to unwind, so that nothing that was started is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    start = time.perf_counter()
    console.print("Starting store, gateway and worker ...")
    with live_system() as url:
        pacer = Pacer(url)
        console.print(f"Ready at {url} after {time.perf_counter() - start:.1f} s; drawing ...")
        draw(pacer, PROMPTS[0], uniform(2))  # the first request pays for what torch sets up late
        comparisons = [compare(pacer, prompt) for prompt in track(PROMPTS, "Drawing", console=console, transient=True)]
    console.print(detail_table(comparisons))
    console.print(mean_table(comparisons))
    OUT.parent.mkdir(exist_ok=True)
    draw_grid(grid_rows(comparisons), BUDGETS, TEACHER_STEPS, SEED).save(OUT)
    console.print(f"The pictures: {OUT}   ({time.perf_counter() - start:.0f} s in all; everything is stopped again)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; so is everything that was started")
