"""A model on a person's own images: any size, any format, and nothing of theirs overwritten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib import methods
from semiseg_lib.cli.predict import predict_files, predict_image
from semiseg_lib.datasets.labels import LabelError, read_mask, voc_palette
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig
from semiseg_lib.models import ModelConfig

CLASSES = ("background", "cat", "dog", "cow", "car")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    method = methods.build(PrimaryConfig(), ModelConfig(width=4), len(CLASSES))
    with torch.no_grad():  # let the untrained network use all classes
        method.average.module.head.weight.mul_(20)
    return method.eval()


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)


@pytest.mark.parametrize("size", [(37, 50), (64, 64), (1, 1), (15, 33), (130, 17)])
def test_a_image_of_any_size_gets_a_label_of_its_size(model, size):
    image = photo(*size).transpose(2, 0, 1).copy()
    label = predict_image(model, image)
    assert label.shape == size and label.dtype == np.uint8 and label.max() < len(CLASSES)
    height, width = (-(-side // 16) * 16 for side in size)
    padded = np.pad(image, ((0, 0), (0, height - size[0]), (0, width - size[1])), mode="edge")
    with torch.inference_mode():
        logits = model(torch.from_numpy(padded)[None].float() / 255)
    expected = logits.argmax(dim=1)[0, :size[0], :size[1]].numpy()
    assert np.array_equal(label, expected)


def test_a_folder_gives_a_palette_png_and_an_overlay_for_each_image(model, tmp_path):
    source, out = tmp_path / "mine", tmp_path / "out" / "deep"
    source.mkdir()
    sizes = {"a.jpg": (37, 50), "b.PNG": (64, 48), "c.bmp": (20, 21)}
    for name, size in sizes.items():
        Image.fromarray(photo(*size)).save(source / name)
    Image.fromarray(photo(33, 18)).convert("RGBA").save(source / "d.png")
    (source / "notes.txt").write_text("no image", encoding="utf-8")
    written = predict_files(model, CLASSES, source, out)
    assert [path.name for path in written] == ["a.png", "b.png", "c.png", "d.png"]
    assert len(list(out.iterdir())) == 8 and len(list(source.iterdir())) == 5
    for path, size in zip(written, [*sizes.values(), (33, 18)], strict=True):
        assert read_mask(path, len(CLASSES)).shape == size
        with Image.open(path) as label, Image.open(out / f"{path.stem}_overlay.png") as overlay:
            assert label.mode == "P" and label.getpalette() == voc_palette()
            assert overlay.mode == "RGB" and overlay.size == label.size


def test_one_file_is_enough_and_its_label_is_that_of_the_image(model, tmp_path):
    Image.fromarray(photo(37, 50)).save(tmp_path / "a.png")
    (written,) = predict_files(model, CLASSES, tmp_path / "a.png", tmp_path / "out")
    expected = predict_image(model, photo(37, 50).transpose(2, 0, 1).copy())
    assert np.array_equal(read_mask(written, 5), expected) and len(np.unique(expected)) > 1


def test_nothing_to_predict_is_an_error(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no image at .*nowhere.*end in .*\.jpg"):
        predict_files(model, CLASSES, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image at .*empty"):
        predict_files(model, CLASSES, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_source_folder_is_never_written_to(model, tmp_path):
    Image.fromarray(photo(20, 20)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for source in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(ValueError, match="choose another folder"):
            predict_files(model, CLASSES, source, tmp_path / ".")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("names", [("a.jpg", "a.png"), ("a.jpg", "a_overlay.jpg")], ids=str)
def test_two_images_whose_results_would_share_a_name_are_refused(model, tmp_path, names):
    source = tmp_path / "mine"
    source.mkdir()
    for seed, name in enumerate(names):
        Image.fromarray(photo(20, 20, seed)).save(source / name)
    with pytest.raises(ValueError, match=r"\ba\b|a_overlay"):
        predict_files(model, CLASSES, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_changed_by_hand_is_never_written_over(model, tmp_path):
    """Labels corrected after a prediction, masks of another origin; unchanged ones are renewed."""
    source, out = tmp_path / "mine", tmp_path / "out"
    source.mkdir()
    Image.fromarray(photo(20, 20)).save(source / "a.png")
    (written,) = predict_files(model, CLASSES, source, out)
    first = written.read_bytes()
    (out / "a_overlay.png").unlink()
    assert predict_files(model, CLASSES, source, out) == [written]
    with Image.open(written) as label:
        corrected = label.copy()
        corrected.putpixel((0, 0), (label.getpixel((0, 0)) + 1) % 5)
        corrected.save(written, pnginfo=None)
    kept = written.read_bytes()
    assert kept != first
    for path in (written, out / "a_overlay.png"):
        with pytest.raises(ValueError, match=rf"{path.name} is there, and not as a prediction"):
            predict_files(model, CLASSES, source, out)
        written.unlink(missing_ok=True)
        (out / "a_overlay.png").write_bytes(kept)


def test_a_damaged_image_is_named(model, tmp_path):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "broken.jpg").write_bytes(b"garbage")
    with pytest.raises(LabelError, match=r"broken\.jpg cannot be read"):
        predict_files(model, CLASSES, source, tmp_path / "out")


def test_a_model_that_needs_boxes_is_refused(tmp_path):
    ancillary = methods.build(AncillaryConfig(), ModelConfig(width=4), len(CLASSES))
    with pytest.raises(ValueError, match="needs boxes; predict with a primary or supervised run"):
        predict_image(ancillary, np.zeros((3, 16, 16), np.uint8))
