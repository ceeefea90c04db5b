"""Options of the images, weak views, strong views and CutMix; importing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf
from typing import Annotated, Any, Literal

from pydantic import SerializeAsAny, TypeAdapter, ValidationInfo, WrapValidator

from semiseg_lib import datasets
from semiseg_lib.core.fingerprint import Configuration, Schema
from semiseg_lib.datasets.dataset import DatasetOptions


def _read_options(value: Any, handler: Any, info: ValidationInfo) -> DatasetOptions:
    """Return stored options as an instance of the option class of the named dataset."""
    if isinstance(value, DatasetOptions):
        return value
    kind = datasets.find(info.data["dataset"]).options
    return TypeAdapter(kind).validate_python(value)


Rule = Literal["filled", "grabcut"]
"""How a box becomes a label without learning; see :mod:`semiseg_lib.batches.box_labels`."""
DEFAULTS: Any = None
"""Stands for the default options of a dataset until the dataset is known."""


@dataclass(frozen=True)
class DataConfig(Configuration):
    """The images of an experiment, and how many of them have masks.

    Attributes:
        dataset: the name of a dataset.
        labelled: number of ``candidates`` with masks, sampled by the run's seed so that every class
            occurs. 0 for all.
        published: path of a published list of labelled images, used instead of sampling. The path
            has no effect on the result; the images that it lists do.
        candidates: the list of images with masks that the labelled ones are drawn from; "" for
            the dataset's own.
        unlabelled: the list of unlabelled images, without those that are labelled or held out; ""
            for the dataset's own.
        val: the list of images for model selection; "" for the dataset's own.
        test: the list of images for the reported scores; "" for the dataset's own.
        keep: the classes to use, background included; () for all. Others become void.
        at_most: maximum number of unlabelled, val and test images each; 0 for all.
        unboxed: meaning of an image that was not annotated with boxes: ``unknown`` (it may show any
            object) or ``empty`` (it shows none).
        options: options of the dataset itself; None for its defaults.

    Raises:
        ValueError: the dataset is unknown, the options are not its own, or a number is negative.
    """

    SCHEMA = Schema(aside=frozenset({"published"}))

    dataset: str = "minivoc"
    labelled: int = 0
    published: str = ""
    candidates: str = ""
    unlabelled: str = ""
    val: str = ""
    test: str = ""
    keep: tuple[str, ...] = ()
    at_most: int = 0
    unboxed: Literal["unknown", "empty"] = "unknown"
    options: Annotated[SerializeAsAny[DatasetOptions], WrapValidator(_read_options)] = DEFAULTS

    def __post_init__(self) -> None:
        for name in ("labelled", "at_most"):
            if getattr(self, name) < 0:
                raise ValueError(f"data.{name} is {getattr(self, name)}; it must be >= 0.")
        kind = datasets.find(self.dataset).options
        if self.options is None:
            object.__setattr__(self, "options", kind())
        if type(self.options) is not kind:
            raise ValueError(
                f"data.options is {self.options!r}; the options of {self.dataset} must be a "
                f"{kind.__name__}."
            )

    def with_options(self, **changes: Any) -> DataConfig:
        """Return a copy with some options of the dataset changed.

        Args:
            changes: the new values, by the names of the options.

        Raises:
            ValueError: the dataset has no such option.
        """
        known = {one.name for one in fields(self.options)}
        if unknown := sorted(changes.keys() - known):
            has = ", ".join(sorted(known)) or "none"
            raise ValueError(
                f"the dataset {self.dataset} has no option {unknown[0]!r}; it has {has}."
            )
        return replace(self, options=replace(self.options, **changes))

    def count_unlabelled(self) -> int | None:
        """Return the number of unlabelled images, or None if it depends on the files.

        ``at_most`` is an upper bound: if the number depends on the files, it may be smaller.
        """
        known = [n for n in (self.at_most, self.options.counts().get("unlabelled")) if n]
        return min(known, default=None)


@dataclass(frozen=True)
class ViewConfig(Configuration):
    """Options of weak views: how far one may differ from its image.

    Attributes:
        crop: height and width of a view in pixels, at least 16; 0 keeps the image's own size.
        scale: the image is first resized by a factor drawn from this range.
        shift: largest shift in pixels, each way, beyond what cropping does.
        border: what a view shows beyond the image: ``padding``, which is void, or the image
            mirrored at its edge (``mirror``).
        flip: chance of a left-right flip.
        brightness: x of a factor that is drawn from 1 - x .. 1 + x.
        contrast: x of a factor that is drawn from 1 - x .. 1 + x.
        saturation: x of a factor that is drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).

    Raises:
        ValueError: a number is out of its range.
    """

    crop: int = 0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: int = 0
    border: Literal["padding", "mirror"] = "padding"
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        if self.crop and self.crop < 16:
            raise ValueError(
                f"augment.crop is {self.crop}; it must be at least 16, or 0 for the image's size."
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"augment.scale is {self.scale}; it must be a range above 0.")
        self.check_ranges("augment", shift=(0, inf), flip=(0, 1))


@dataclass(frozen=True)
class StrongConfig(Configuration):
    """Options of strong views, relative to the weak ones. The defaults are UniMatch's.

    Nothing moves: a label of the weak view is one of the strong view too.

    Attributes:
        jitter: chance of a change of brightness, contrast, saturation and hue.
        brightness: x of a factor that is drawn from 1 - x .. 1 + x.
        contrast: x of a factor that is drawn from 1 - x .. 1 + x.
        saturation: x of a factor that is drawn from 1 - x .. 1 + x.
        hue: turn of the colour circle, drawn from -x .. x (1 is a full turn).
        grey: chance that the colours go.
        blur: chance of a Gaussian blur.
        sigma: its standard deviation in pixels, drawn from this range.
    """

    jitter: float = 0.8
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    grey: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        self.check_ranges("strong", jitter=(0, 1), grey=(0, 1), blur=(0, 1), hue=(0, 0.5))
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"strong.sigma is {self.sigma}; it must be a range above 0.")


@dataclass(frozen=True)
class CutMixConfig(Configuration):
    """Options of CutMix. The defaults are UniMatch's single box, but for the ratio of its sides.

    In UniMatch's code height over width is uniform in 0.3 to 3.3, so that tall boxes are likelier;
    here its logarithm is uniform.

    Attributes:
        chance: of an image being mixed at all.
        boxes: rectangles per mask. Where two of them overlap, the covered image shows
            again (exclusive or).
        area: the share of the image that the rectangles cover together, overlaps counted twice;
            drawn from this range.
        aspect: the shorter side of a rectangle over the longer one is at least this, both taken as
            shares of the image's sides; 0 for any.
    """

    chance: float = 0.5
    boxes: int = 1
    area: tuple[float, float] = (0.02, 0.4)
    aspect: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"cutmix.area is {self.area}; it must be a range within 0 .. 1.")
        self.check_ranges("cutmix", boxes=(1, inf), chance=(0, 1), aspect=(0, 1))


THREE_BOXES = CutMixConfig(chance=1.0, boxes=3, area=(0.25, 0.5), aspect=0.0)
"""The masks of CutMix-CPS (French et al. 2020; Chen et al. 2021)."""
