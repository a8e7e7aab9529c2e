"""Files: lossless where they should be, as large as asked, with their provenance."""

import io

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.workers.on_store import make_job
from workers.image_file import encode_file, provenance

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_png_keeps_every_pixel_and_its_texts() -> None:
    texts = {"prompt": "ein Stern, ★", "seed": "7"}
    with Image.open(io.BytesIO(encode_file(PIXELS, "png", compression=None, texts=texts))) as image:
        assert np.array_equal(np.asarray(image), PIXELS)
        assert {name: image.info[name] for name in texts} == texts


def test_png_without_texts_carries_none() -> None:
    with Image.open(io.BytesIO(encode_file(PIXELS, "png", compression=None, texts={}))) as image:
        assert not image.info


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_compression_is_quality(kind: str) -> None:
    small, large = (encode_file(PIXELS, kind, compression=q, texts={}) for q in (5, 95))  # type: ignore[arg-type]
    assert len(small) < len(large)
    with Image.open(io.BytesIO(small)) as image:
        assert image.format == kind.upper()


def test_provenance_is_enough_to_draw_the_picture_again() -> None:
    job = make_job(6, seed=5)
    told = provenance(job)
    assert tuple(float(sigma) for sigma in told["sigmas"].split()) == job.plan.sigmas
    assert (told["solver"], told["steps"], told["seed"]) == (job.plan.solver, "6", "5")
    assert {"prompt", "negative_prompt", "model", "schedule", "guidance_scale"} < set(told)


def test_a_job_that_wants_no_metadata_gets_none() -> None:
    assert provenance(msgspec.structs.replace(make_job(), embed_metadata=False)) == {}
