"""The stream of pictures: a function of seed and index, and never a prompt that is held out."""

import torch

from workers.shapes.data import PictureStream
from workers.shapes.language import is_held_out, parse
from workers.shapes.recognise import read


def test_a_batch_is_a_function_of_seed_and_index_alone() -> None:
    stream = PictureStream(seed=5, batch_size=8)
    first, following = stream.batch(3), stream.batch(4)
    again = PictureStream(seed=5, batch_size=8).batch(3)
    assert torch.equal(again[0], first[0])
    assert again[1] == first[1]
    assert first[1] != following[1]
    assert not torch.equal(first[0], following[0])
    assert PictureStream(seed=6, batch_size=8).batch(3)[1] != first[1]


def test_pictures_are_of_their_sentences_and_none_is_held_out() -> None:
    pixels, sentences = PictureStream(seed=1, batch_size=64).batch(0)
    assert pixels.shape == (64, 3, 64, 64)
    assert pixels.dtype == torch.float32
    assert -1 <= pixels.min() < -0.5 < 0.5 < pixels.max() <= 1
    prompts = [parse(sentence) for sentence in sentences]
    assert not any(map(is_held_out, prompts))
    assert {prompt.kind for prompt in prompts} == {"one", "pair", "count"}
    images = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert [read(image).background for image in images] == [prompt.background for prompt in prompts]
