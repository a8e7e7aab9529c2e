"""How far a compiled network is from a plain one, for several numbers of rows: `python -m ... FOLDER`, in a process
without the checks of shapes at run time that the tests have, which the compiler cannot look through."""

import sys
from pathlib import Path

import torch

from workers.families.base import Family
from workers.keeping import Keeping
from workers.models import load

CPU = torch.device("cpu")


def outputs(family: Family, rows: int) -> torch.Tensor:
    texts = family.encode(["a red circle", "a blue star above a red square", ""])[:rows]
    x = torch.randn(rows, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    return family.denoise(x, torch.linspace(900, 100, rows), texts)


def main(folder: Path) -> None:
    """Print the largest difference."""
    torch.set_num_threads(1)
    plain, kept = load(str(folder), CPU).family, load(str(folder), CPU, keeping=Keeping(compiled=True)).family
    pairs = [(outputs(plain, rows), outputs(kept, rows)) for rows in (2, 3)]
    print(max(float((mine - other).abs().max()) for mine, other in pairs))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    print(graphs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
