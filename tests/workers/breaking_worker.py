"""A worker process whose device fails once, as soon as there is a file of this name: `breaking_worker.py FOLDER FILE`.

All of it is the real thing, save that the network raises what a broken CUDA context makes torch raise.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from app import logs
from pacer.settings import Settings
from workers.cli import main
from workers.families.registry import FamilyEntry
from workers.families.sd3 import Sd3Family, Sd3Text

FOLDER, BREAK = sys.argv[1], Path(sys.argv[2])


class Breaking(Sd3Family):
    def denoise(self, x: Tensor, t: Tensor, conditioning: Sequence[Sd3Text]) -> Tensor:
        if BREAK.exists():
            BREAK.unlink()
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return super().denoise(x, t, conditioning)


FamilyEntry.load_adapter = lambda _entry: Breaking  # type: ignore[method-assign]
settings = Settings()
logs.configure(settings)
sys.exit(main(settings, FOLDER))
