"""``semiseg visualize``: the error map of an error-localisation run for one image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import give
from semiseg_lib.datasets.labels import VOID, read_image, read_mask
from semiseg_lib.evaluation.predict import evaluating, padded
from semiseg_lib.experiments import open_run
from semiseg_lib.methods import ELNConfig
from semiseg_lib.methods.eln.method import ELN
from semiseg_lib.methods.losses import most_likely
from semiseg_lib.notebook import plots
from semiseg_lib.notebook.plots.style import png_bytes


def write_figure(
    source: Path, run: Path, out: Path, truth: Path | None = None, device: str | None = None
) -> None:
    """Draw image, prediction, error map and kept labels of a run of ``eln`` as a PNG file.

    Raises:
        FileNotFoundError: image, truth or run is missing.
        ValueError: the run is none of eln, or a file does not fit.
    """
    trained = open_run(run, device).chosen()
    options = trained.run.method
    if not isinstance(options, ELNConfig):
        raise ValueError(
            f"{shown(run)} is a run of {options.name}, which has no error map; train one "
            "with `semiseg train eln`."
        )
    classes = trained.classes
    image = read_image(source)
    mask = read_mask(truth, len(classes)) if truth else None
    if mask is not None and mask.shape != image.shape[1:]:
        raise ValueError(f"{shown(truth)} is {mask.shape} pixels, the image {image.shape[1:]}.")
    labels, right = judged(trained.method, image)
    kept = right >= options.threshold
    with atomic_write(out) as temporary:
        temporary.write_bytes(png_bytes(drawn(image, labels, right, kept, classes, mask)))
    give({"figure": out, "kept": kept.mean()},
         f"{summary(labels, kept, mask)}\nfigure: {shown(out)}")


def judged(method: ELN, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of an image of any size, and the probability that each is right.

    Args:
        method: a finished run's.
        image: uint8 (3, H, W).

    Returns:
        (uint8 (H, W) class ids, float32 (H, W) in [0, 1])
    """
    height, width = image.shape[1:]
    part = torch.tensor(image)[None].float() / 255
    part = padded(part, method)
    with evaluating(method):
        labels, right = most_likely(method(part)), method.error_map(part)
    inside = (0, slice(height), slice(width))
    return labels[inside].to(torch.uint8).cpu().numpy(), right[inside].cpu().numpy()


def drawn(
    image: np.ndarray, labels: np.ndarray, right: np.ndarray, kept: np.ndarray,
    classes: list[str], mask: np.ndarray | None = None,
) -> Figure:
    """Return the figure: image, truth if given, prediction, error map, kept labels."""
    columns = {"image": [image]} | ({} if mask is None else {"truth": [mask]}) | {
        "prediction": [labels],
        "chance of an error": [1 - right],  # dark 0, yellow 1
        "labels kept": [np.where(kept, labels, VOID).astype(np.uint8)],
    }
    return plots.gallery(columns, classes)


def summary(labels: np.ndarray, kept: np.ndarray, mask: np.ndarray | None) -> str:
    """Return the kept fraction; with a truth also the accuracy and the errors found."""
    if mask is None:
        return f"{100 * kept.mean():.1f} % of the pixels are kept."
    known = mask != VOID
    wrong, kept = (labels != mask)[known], kept[known]

    def percent(part: np.ndarray) -> str:
        return f"{100 * part.mean():.1f} %" if part.size else "none"

    return (
        f"Of the pixels that are not void {percent(kept)} are kept. Right: {percent(~wrong)} of "
        f"all, {percent(~wrong[kept])} of the kept. Errors that were found: "
        f"{percent(~kept[wrong])} of them."
    )
