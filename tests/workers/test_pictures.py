"""Files become latents and masks, or one clear error that costs nobody else."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from pacer.errors import ErrorKind
from pacer.jobs.messages import Claim, PictureFiles
from tests.workers.conftest import load_stock
from tests.workers.test_picture_parity import Wish, draw_together, engine_of, mask, picture, plain_claim, png
from workers.families.base import PictureError
from workers.families.sd3 import Sd3Family
from workers.networks import Networks
from workers.pictures import mask_weights, read_picture
from workers.runner import Runner, Spec
from workers.turn import Drawn, Failed

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # numpy, from inside diffusers

WISH = Wish("a red circle", 7, 2.0, 4, "euler", 0.8, "binary")


def claim_of(files: PictureFiles, **said: object) -> Claim:
    claim = WISH.claim()
    assert claim.job.picture is not None
    changed = msgspec.structs.replace(claim.job.picture, **said)
    return msgspec.structs.replace(claim, job=msgspec.structs.replace(claim.job, picture=changed), picture=files)


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def test_white_and_transparent_are_free() -> None:
    levels = Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8))
    np.testing.assert_allclose(mask_weights(levels, "white"), [[0, 0.2, 1]])
    drawn = Image.merge("RGBA", (*Image.new("RGB", (3, 1), "red").split(), levels))
    np.testing.assert_allclose(mask_weights(drawn, "alpha"), [[1, 0.8, 0]])
    assert mask_weights(Image.new("RGB", (2, 2)), "alpha").max() == 0


def test_every_format_and_mode_is_read(family: Sd3Family) -> None:
    shape = family.latent_shape(64, 64)
    latents = []
    palette = picture().convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    for data in (png(picture()), png(picture().convert("RGBA")), jpeg(picture()), png(palette)):
        read = read_picture(claim_of(PictureFiles(data), mask=None), family, shape)
        assert read is not None
        assert read.mask is None
        latents.append(read.latent)
    torch.testing.assert_close(latents[0], latents[1], rtol=0, atol=0)
    for lossy in latents[2:]:
        assert (latents[0] - lossy).abs().mean() < 0.1 * latents[0].abs().mean()


def test_a_picture_is_scaled_only_where_it_is_said(family: Sd3Family) -> None:
    shape, large = family.latent_shape(64, 64), picture().resize((128, 96))
    files = PictureFiles(png(large), png(mask("soft").resize((128, 96))))
    read = read_picture(claim_of(files, width=128, height=96, resize=True), family, shape)
    assert read is not None
    assert read.latent.shape == shape
    assert read.mask is not None
    assert read.mask.shape == (1, *shape[1:])
    with pytest.raises(PictureError, match="the model draws"):
        read_picture(claim_of(files, width=128, height=96), family, shape)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (PictureFiles(b"nonsense", png(mask("soft"))), "image: cannot be decoded"),
        (PictureFiles(png(picture())[:300], png(mask("soft"))), "image: cannot be decoded"),
        (PictureFiles(png(picture().resize((32, 64))), png(mask("soft"))), "image: is 32x64, its header"),
        (PictureFiles(png(picture()), png(mask("soft"))[:60]), "mask: cannot be decoded"),
        (PictureFiles(png(picture()), png(mask("soft").resize((64, 60)))), "mask: is 64x60"),
    ],
)
def test_what_cannot_be_read_fails_alone(tiny_folder: Path, files: PictureFiles, said: str) -> None:
    engine = engine_of(Sd3Family(load_stock(tiny_folder)))
    company = plain_claim(2)
    assert engine.admit(company) is None
    failed = engine.admit(claim_of(files))
    assert isinstance(failed, Failed)
    assert failed.kind is ErrorKind.invalid_request
    assert said in failed.detail
    ended = [one for _ in range(3) for one in engine.turn().ended]
    assert [type(one) for one in ended] == [Drawn]


def test_outside_of_a_binary_mask_the_latent_is_the_images_own(tiny_folder: Path, family: Sd3Family) -> None:
    claim = WISH.claim()
    read = read_picture(claim, family, family.latent_shape(64, 64))
    assert read is not None
    assert read.mask is not None
    latent, _ = draw_together(tiny_folder, [claim, plain_claim(6)])[claim.job.id]
    kept = (read.mask == 0).expand_as(latent)
    assert 0.2 < kept.float().mean() < 0.9
    torch.testing.assert_close(latent[kept], read.latent[kept], rtol=0, atol=1e-6)
    assert (latent - read.latent)[~kept].abs().mean() > 0.1


def test_bits_do_not_depend_on_company_in_the_invariant_mode(tiny_folder: Path) -> None:
    alone = WISH.claim()
    expected, pixels = draw_together(tiny_folder, [alone], batch_invariant=True)[alone.job.id]
    again, other = WISH.claim(), Wish("two", 9, 1.0, 10, "dpmpp-2m", mask="soft").claim()
    results = draw_together(tiny_folder, [other, again, plain_claim(5)], batch_invariant=True)
    assert torch.equal(results[again.job.id][0], expected)
    np.testing.assert_array_equal(results[again.job.id][1], pixels)


def test_a_step_made_again_changes_nothing(family: Sd3Family) -> None:
    """Where a batch raises, each of its requests steps again alone."""
    latents = []
    for twice in (False, True):
        runner, claim = Runner(Networks(family, max_rows=64), 2), WISH.claim()
        shape = family.latent_shape(64, 64)
        positive, negative = family.encode(["a red circle", ""])
        soft = msgspec.structs.replace(claim, picture=PictureFiles(png(picture()), png(mask("soft"))))
        spec = Spec(claim.job.table.table(), 2.0, 7, shape, positive, negative, read_picture(soft, family, shape))
        runner.admit("a", spec)
        for _ in range(4):
            if twice:
                runner.results(["a"])
                _, room, slots, rows = runner._at(["a"])
                runner._samples(room.pool, torch.from_numpy(slots), rows, keep=True)
            runner.step(["a"])
        latents.append(runner.results(["a"]))
    assert torch.equal(*latents)


def test_a_table_that_needs_a_picture_is_refused_without_one(family: Sd3Family) -> None:
    runner, shape = Runner(Networks(family, max_rows=64), 2), family.latent_shape(64, 64)
    positive, negative = family.encode(["", ""])
    with pytest.raises(ValueError, match="need one"):
        runner.admit("a", Spec(WISH.table(), 2.0, 7, shape, positive, negative))
    bare = read_picture(claim_of(PictureFiles(png(picture())), mask=None), family, shape)
    with pytest.raises(ValueError, match="need a mask"):
        runner.admit("a", Spec(WISH.table(), 2.0, 7, shape, positive, negative, bare))
