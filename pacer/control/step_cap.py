"""The most steps that everybody can be given at the rate at which requests come: a cap from a queueing model.

Where the longest jobs are capped, the delay of all falls ("A Queueing Theoretic Perspective on Low-Latency LLM
Inference with Variable Token Length", Yang, Xu and Jiao, 2024). Here jobs are images of n steps that share turns, which
last the longer the more images there are: the workers are shared as a processor is, and the mean time of M/G/1 under
processor sharing holds (Kleinrock, 1967),

    T = S / (1 - rho),   rho = rate x what an image adds to the turns of others,

with S the time of an image alone; up to where full batches make no more images than come, beyond which there is no end
to the wait. docs/experiments.md, "a cap from a queueing model", has it beside the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

from pacer.control.inflow import Inflow
from pacer.jobs.messages import WorkerSpeed


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who comes, and who draws.

    Attributes:
        inflow: a second, of late.
        speed: what a worker measured, the mean.
        workers: how many there are.
        own: the same as speed at the size of the request that is planned; None where it is the default.
    """

    inflow: Inflow
    speed: WorkerSpeed
    workers: int
    own: WorkerSpeed | None = None

    def latency_s(self, steps: int, each: int) -> float:
        """Mean seconds that an image takes where every open request gets so many steps; inf beyond what can be drawn.

        Args:
            steps: of an image whose steps are open.
            each: forwards of one of its steps.
        """
        speed, inflow = self.speed, self.inflow
        image_s = speed.encode_seconds + speed.decode_seconds
        forwards = (inflow.forwards + inflow.open_images * steps * each) / self.workers
        shared = forwards * speed.row_seconds + inflow.images * image_s / self.workers
        if shared + forwards * speed.turn_seconds / speed.rows >= 1:
            return float("inf")
        own = self.own or speed
        alone_s = steps * (own.turn_seconds + each * own.row_seconds)
        return alone_s / (1 - shared) + (own.encode_seconds + own.decode_seconds) + own.deliver_seconds

    def most_steps(self, steps: tuple[int, int], each: int, latency_s: float) -> int:
        """The most steps with which an image is in time in the mean, were all open requests to get as many.

        Args:
            steps: least and most of the request; the least is given whatever comes in.
            each: forwards of a step.
            latency_s: seconds until it is due; inf where nobody is there whom it would wait for.
        """
        least, most = steps
        while least < most:  # the time rises with the steps
            middle = (least + most + 1) // 2
            fits = (mean_s := self.latency_s(middle, each)) <= latency_s and mean_s < float("inf")
            least, most = (middle, most) if fits else (least, middle - 1)
        return least
