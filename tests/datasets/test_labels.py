"""Masks and images on disk: ids survive, and what is damaged or no mask is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from semiseg_lib.datasets.labels import (
    VOID,
    LabelError,
    read_image,
    read_mask,
    voc_palette,
    write_mask,
)
from semiseg_lib.datasets.voc import VOC_CLASSES

# The colours that the VOC development kit prints for its first ids, for a cat and for void.
KNOWN_COLOURS = {
    0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128),
    8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192),
}


def test_the_palette_is_vocs():
    palette = np.reshape(voc_palette(), (256, 3))
    assert {i: tuple(palette[i].tolist()) for i in KNOWN_COLOURS} == KNOWN_COLOURS
    assert len(np.unique(palette, axis=0)) == 256
    assert len(VOC_CLASSES) == 21 and VOC_CLASSES[15] == "person"


def test_a_mask_survives_the_disk_and_carries_the_palette(tmp_path):
    mask = np.random.default_rng(0).choice([0, 1, 4, VOID], (7, 5)).astype(np.uint8)
    write_mask(mask, tmp_path / "sub" / "m.png")
    assert np.array_equal(read_mask(tmp_path / "sub" / "m.png", 5), mask)
    with Image.open(tmp_path / "sub" / "m.png") as stored:
        assert stored.mode == "P" and stored.getpalette() == voc_palette()


def test_a_grey_png_is_a_mask_too(tmp_path):
    mask = np.array([[0, 1], [2, VOID]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "grey.png")
    assert np.array_equal(read_mask(tmp_path / "grey.png", 3), mask)


def test_unknown_ids_are_listed_with_the_file_and_the_mend(tmp_path):
    write_mask(np.array([[0, 1, 7, 9, VOID]], np.uint8), tmp_path / "m.png")
    with pytest.raises(LabelError, match=r"m\.png.*\[7, 9\].*0 to 6.*Map them"):
        read_mask(tmp_path / "m.png", 7)
    assert read_mask(tmp_path / "m.png", 10).max() == VOID


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_in_place_of_ids_are_refused(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "colours.png")
    with pytest.raises(LabelError, match=r"colours\.png is a colour image.*Save it as a palette"):
        read_mask(tmp_path / "colours.png", 3)


def test_a_image_is_read_in_channel_row_column_order(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    assert np.array_equal(read_image(tmp_path / "p.png"), pixels.transpose(2, 0, 1))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (3, 3, 5)


@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, 3)])
def test_a_missing_file_is_named_with_the_mend(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png is missing\. Add the file"):
        read(tmp_path / "nowhere.png")


def test_a_truncated_jpeg_is_named_with_the_mend(tmp_path):
    path = tmp_path / "half.jpg"
    noise = np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LabelError, match=r"half\.jpg cannot be read.*Copy or download it again"):
        read_image(path)


def test_a_png_with_any_byte_flipped_is_read_or_refused_and_nothing_else(tmp_path):
    path = tmp_path / "m.png"
    write_mask(np.random.default_rng(3).integers(0, 4, (12, 12), dtype=np.uint8), path)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1:])
        try:
            assert read_mask(path, 5).dtype == np.uint8
        except LabelError as error:
            assert "m.png" in str(error)
            refused += 1
    assert refused > 50
