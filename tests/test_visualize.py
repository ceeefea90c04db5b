"""``semiseg visualize``: the figure of a run's error map; refusals that say what to do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semiseg_lib.cli import main
from semiseg_lib.cli.visualize import drawn, judged, summary
from semiseg_lib.datasets.labels import VOID, write_mask
from semiseg_lib.experiments import open_run

SMOKE = ["--profile", "smoke", "--seed", "5", "--device", "cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Smoke runs of eln and of what it starts from."""
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMISEG_WORK", str(work))
        assert main(["train", "eln", *SMOKE]) == 0
        found = {path.name.split("-")[0]: path for path in (work / "runs").iterdir()}
        assert found.keys() == {"supervised", "eln"}
        yield found


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """An image whose sides are no multiples of 16."""
    path = tmp_path_factory.mktemp("mine") / "image.png"
    drawing = np.random.default_rng(0).integers(0, 256, (10, 13, 3), dtype=np.uint8)
    Image.fromarray(drawing.repeat(5, axis=0).repeat(5, axis=1)).save(path)
    return path


def test_a_image_of_any_size_is_drawn_with_and_without_its_mask(runs, image, tmp_path, capsys):
    out, mask = tmp_path / "deep" / "figure.png", tmp_path / "mask.png"
    arguments = ["visualize", str(image), "--run", str(runs["eln"]), "--device", "cpu"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "% of the pixels are kept" in printed and "figure.png" in printed
    alone = Image.open(out)
    write_mask(np.zeros((50, 65), np.uint8), mask)
    assert main([*arguments, "--out", str(out), "--truth", str(mask)]) == 0
    printed = capsys.readouterr().out
    assert "Errors that were found" in printed and "nan" not in printed
    with Image.open(out) as beside:
        assert beside.size != alone.size and beside.width > 500


def test_what_is_drawn_is_the_methods_own_labels_and_error_map(runs, image):
    method = open_run(runs["eln"], "cpu").method
    pixels = np.asarray(Image.open(image)).transpose(2, 0, 1).copy()
    labels, right = judged(method, pixels)
    padded = np.pad(pixels, ((0, 0), (0, 14), (0, 15)), mode="edge")
    part = torch.from_numpy(padded)[None].float() / 255
    assert np.array_equal(labels, method(part).argmax(dim=1)[0, :50, :65].numpy())
    assert np.array_equal(right, method.error_map(part)[0, :50, :65].numpy())
    panels = drawn(pixels, labels, right, right >= np.median(right), ["a", "b", "c", "d", "e"])
    titles = [axes.get_title() for axes in panels.axes]
    assert titles == ["image", "prediction", "chance of an error", "labels kept"]


def test_the_summary_counts_by_hand():
    labels = np.array([[0, 1, 1, 2]], np.uint8)
    mask = np.array([[0, 1, 2, VOID]], np.uint8)
    kept = np.array([[True, False, True, False]])
    said = summary(labels, kept, mask)
    assert "66.7 % are kept" in said and "66.7 % of all, 50.0 % of the kept" in said
    assert "Errors that were found: 0.0 % of them" in said
    assert "50.0 % of the pixels are kept" in summary(labels, kept, None)
    assert "none of the kept" in summary(labels, np.zeros_like(kept), mask)


@pytest.mark.parametrize("changes, message", [
    ({"run": "supervised"}, r"a run of supervised, which has no error map; train one with `semiseg "
                            r"train eln`"),
    ({"truth": "small.png"}, r"small.png is \(4, 4\) pixels, the image \(50, 65\)"),
])
def test_what_cannot_be_drawn_is_refused_in_a_line(
    runs, image, tmp_path, capsys, changes, message
):
    write_mask(np.zeros((4, 4), np.uint8), tmp_path / "small.png")
    named = {"source": image, "out": tmp_path / "figure.png", "run": runs["eln"]}
    for name, value in changes.items():
        known = {"supervised": runs["supervised"], "source": image}
        named[name] = known.get(value, tmp_path / value)
    source = named.pop("source")
    flags = [text for name, value in named.items() for text in (f"--{name}", str(value))]
    before = image.read_bytes()
    assert main(["visualize", str(source), *flags, "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert re.search(message, said) and "Traceback" not in said
    assert not (tmp_path / "figure.png").exists() and image.read_bytes() == before
