"""The identity of a value: the value itself and the digests of everything it is made from.

Two values that differ in an option, in a byte of an image that they read, in a class name, in
encoder weights or in anything that they build on have different identities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import torch

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.core.escaping import listed, visible
from semiseg_lib.core.fingerprint import digest, dump, plain
from semiseg_lib.datasets.digest import file_hash
from semiseg_lib.experiments.values import (
    BoxLabels,
    Logits,
    MixedLogits,
    PseudoLabels,
    Run,
    V,
    Value,
    part_of,
)
from semiseg_lib.methods import MethodConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.models import ModelConfig

SCHEMA = 1
"""Version of stored descriptions; increased when their meaning changes, older ones are refused."""

KINDS = {Run: "run", Logits: "logits", MixedLogits: "mixed-logits", BoxLabels: "box-labels",
         PseudoLabels: "pseudo-labels"}
"""The stable name of each kind of value."""

FOLDER_OF = {Run: "runs", Logits: "logits", MixedLogits: "logits", BoxLabels: "logits",
             PseudoLabels: "pseudo_labels"}
"""The folder below the work folder that holds each kind of value."""


NAME = r".+-[0-9a-f]{10}-([0-9a-f]{10})"
"""The pattern of :attr:`Identity.name`; the group holds the first digits of the identity."""


@dataclass(frozen=True)
class Identity(Generic[V]):
    """A value and the digests of its inputs when it was identified.

    Attributes:
        value: the value.
        classes: class names, in the order of their ids.
        images: the digest of each image set that it reads, by its role.
        parents: the digest of the identity of each value that it builds on.
        weights: the SHA-256 of each encoder's file of initial weights; none for random weights.
    """

    value: V
    classes: tuple[str, ...]
    images: Mapping[str, str]
    parents: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Return everything beside the options that decides the result."""
        return {"classes": list(self.classes), "images": dict(self.images),
                "parents": dict(self.parents), "weights": dict(self.weights)}

    @cached_property
    def digest(self) -> str:
        """Return the identity as 64 hex digits."""
        kind = KINDS[type(self.value)]
        return digest({"schema": SCHEMA, "kind": kind, "value": plain(self.value), **self.inputs})

    @cached_property
    def options_digest(self) -> str:
        """Return ten hex digits of the options alone, the same on other images."""
        return digest(plain(self.value))[:10]

    @cached_property
    def name(self) -> str:
        """Return the name of the folder, made of kind, recipe and identity."""
        what = self.value.method.name if isinstance(self.value, Run) else KINDS[type(self.value)]
        if isinstance(self.value, PseudoLabels):
            what = f"train_pseudoIt{self.value.number}"
        return f"{what}-{self.options_digest}-{self.digest[:10]}"

    @cached_property
    def description(self) -> dict[str, Any]:
        """Return what is stored beside the result, JSON-able; a run is reproduced from it.

        Two descriptions of one identity may differ in ``value``: by options that decide no result,
        and by options that were added since.
        """
        return {"schema": SCHEMA, "kind": KINDS[type(self.value)], "identity": self.digest,
                "value": dump(self.value), "inputs": self.inputs}


class Inputs:
    """The images of values, each opened once, and the identities of the values.

    Args:
        root: the folder that holds the datasets; None asks ``SEMISEG_DATA``.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self._opened: dict[str, Data] = {}
        self._known: dict[str, Identity[Any]] = {}

    def data(self, value: Value) -> Data:
        """Return the images of a value."""
        run = run_of(value)
        key = digest({"data": dump(run.data), "seed": run.seed})
        if key not in self._opened:
            self._opened[key] = Data(run.data, run.seed, self.root)
        return self._opened[key]

    def identity(self, value: V) -> Identity[V]:
        """Return the identity of a value.

        Raises:
            FileNotFoundError: the dataset or an encoder's weights are not there.
            ValueError: the images do not suit the method, or what the value builds on has other
                classes or labels other images; the message says why.
        """
        key = digest({"kind": KINDS[type(value)], "value": dump(value)})
        if key not in self._known:
            self._known[key] = self._identified(value)
        return self._known[key]

    def image_sets(self, value: Value) -> dict[str, ImageSet]:
        """Return the image sets that a value reads, by role, without stored logits and labels.

        Raises:
            ValueError: the images do not suit the method; the message says why.
        """
        data = self.data(value)
        if not isinstance(value, Run):
            part = part_of(value)
            if not isinstance(value, PseudoLabels):
                need_boxes(data, part)
            elif methods.method_class(value.teacher.method).uses_boxes:
                need_all_boxes(data)
            return {part: labelled_by(value, data)}
        if methods.method_class(value.method).uses_boxes:
            need_boxes(data, "labelled")
            if value.masks not in ("labelled", "first half"):
                raise ValueError(
                    f"{value.method.name} reads boxes, and learns from the masks of labelled "
                    f"images alone; masks of the run must be 'labelled' or 'first half'."
                )
        method = blueprint(value, len(data.classes))
        sets = {"labelled": self._images_with_masks(value, data).with_fields(*method.reads)}
        if "unlabelled" in method.learns_from(value.method):
            logits = value.unlabelled_logits
            images = data.unlabelled if logits is None else data.boxed
            sets["unlabelled"] = images.with_fields(*method.reads)
        if value.validation:
            sets["val"] = as_scored(data.val, value)
        return sets

    def _images_with_masks(self, run: Run, data: Data) -> ImageSet:
        """Return the images whose masks a run learns from; for pseudo-labels without masks."""
        if isinstance(run.masks, PseudoLabels):
            return data.unlabelled.without_labels()
        return {"labelled": lambda: data.labelled, "first half": lambda: data.halves[0],
                "all": lambda: data.everything}[run.masks]()

    def _identified(self, value: V) -> Identity[V]:
        parents = {name: self.identity(one).digest for name, one in value.parents().items()}
        self._refuse_parents_of_others(value)
        files = weights_files(value) if isinstance(value, Run) else {}
        return Identity(
            value, self.data(value).classes,
            {role: images.digest for role, images in self.image_sets(value).items()}, parents,
            {name: file_hash(path) for name, path in files.items()},
        )


    def _refuse_parents_of_others(self, value: Value) -> None:
        """Raise ValueError if a parent has other classes, or stored labels are of other images.

        Channels of logits and class ids have no names: they are paired by number, labels with
        images by position.
        """
        data = self.data(value)
        for name, parent in value.parents().items():
            other = self.data(parent)
            if other is data:
                continue
            if other.classes != data.classes:
                raise ValueError(
                    f"a run of the classes {listed(data.classes)} cannot build on a run of the "
                    f"classes {listed(other.classes)} (its {name}): ids and channels would be "
                    "taken for other classes. Give both the same classes in the same order "
                    "(data.keep)."
                )
            if isinstance(parent, Run):
                continue
            theirs, own = labelled_by(parent, other), labelled_by(parent, data)
            if theirs.digest != own.digest:
                strangers = sorted({*theirs.names} ^ {*own.names})
                said = (f"{len(strangers)} images are in one of the two only, such as "
                        f"{visible(strangers[0])}" if strangers else "they have the same names")
                raise ValueError(
                    f"the {name} are labels of other images than the {len(own)} {part_of(parent)} "
                    f"ones of the run that learns from them: {said}. Give both runs the same "
                    "images and the same seed, which draws the labelled ones."
                )


def labelled_by(labels: Logits | MixedLogits | BoxLabels | PseudoLabels, data: Data) -> ImageSet:
    """Return the images of some data that stored labels are of, as they were read for them."""
    if not isinstance(labels, PseudoLabels):
        return boxed_part(data, part_of(labels))
    if methods.method_class(labels.teacher.method).uses_boxes:
        return data.unlabelled
    return data.unlabelled.without_labels()


def as_scored(images: ImageSet, run: Run) -> ImageSet:
    """Return images as a run is scored on them, with boxes only if its model reads boxes."""
    return images if methods.method_class(run.method).uses_boxes else images.without_boxes()


def run_of(value: Value) -> Run:
    """Return the run whose data a value uses."""
    return {
        Run: lambda: value, Logits: lambda: value.run, MixedLogits: lambda: value.primary,
        BoxLabels: lambda: value.run, PseudoLabels: lambda: value.teacher,
    }[type(value)]()


def blueprint(run: Run, num_classes: int) -> Method:
    """Return the method of a run on the meta device, without memory for weights.

    It is built once per options.
    """
    options = digest({"method": dump(run.method), "model": dump(run.model)})
    key = (methods.method_class(run.method), options, num_classes)
    if key not in _blueprints:
        make_torchvision_importable()  # torch 2.8 cannot import it first on the meta device
        with torch.device("meta"):
            _blueprints[key] = build(run, num_classes)
    return _blueprints[key]


_blueprints: dict[tuple[type[Method], str, int], Method] = {}


def build(run: Run, num_classes: int) -> Method:
    """Return the method of a run without its encoders' initial weights."""
    networks = {name: replace(one, weights="") for name, one in _networks_of(run.method).items()}
    return methods.build(
        replace(run.method, **networks), replace(run.model, weights=""), num_classes
    )


def weights_files(run: Run) -> dict[str, Path]:
    """Return the file of each encoder's initial weights, by the field that names it.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the package with the weights is not installed, or the hub is unreachable.
    """
    networks = networks_of(run)
    if not any(one.weights for one in networks.values()):
        return {}
    from semiseg_lib.models.encoders import weights_file  # timm takes seconds

    return {name: weights_file(one) for name, one in networks.items() if one.weights}


def networks_of(run: Run) -> dict[str, ModelConfig]:
    """Return the networks that a run's options describe, by the field that names them."""
    return {"model": run.model, **_networks_of(run.method)}


def _networks_of(options: MethodConfig) -> dict[str, ModelConfig]:
    """Return the additional networks that a method's options describe, by field.

    Raises:
        ValueError: one lies deeper, where its weights would not be found.
    """
    found = {name: one for name, one in vars(options).items() if isinstance(one, ModelConfig)}
    deeper = {name for name, one in vars(options).items() if name not in found and _holds(one)}
    if deeper:
        raise ValueError(
            f"{options.name}.{min(deeper)} holds a network within other options: its file of "
            "initial weights would not be part of the run's identity. Make each network a field "
            "of the method's options."
        )
    return found


def _holds(options: Any) -> bool:
    """Return whether options hold a network with initial weights, at any depth."""
    if isinstance(options, ModelConfig):
        return bool(options.weights)
    if is_dataclass(options):
        options = vars(options)
    if isinstance(options, Mapping):
        options = tuple(options.values())
    return isinstance(options, tuple) and any(map(_holds, options))


def boxed_part(data: Data, part: str) -> ImageSet:
    """Return the images of a part that an ancillary can label: those with boxes."""
    return data.boxed if part == "unlabelled" else data.labelled


def need_all_boxes(data: Data) -> None:
    """Raise ValueError if an unlabelled image has no boxes, which its teacher reads."""
    if lacking := [one for one in data.unlabelled.names if not data.knows_boxes(one)]:
        raise ValueError(
            f"the teacher of the pseudo-labels reads boxes, and {len(lacking)} unlabelled images "
            f"have none, such as {visible(lacking[0])}. Add boxes, or take a teacher that needs "
            "none."
        )


def need_boxes(data: Data, part: str) -> None:
    """Raise ValueError if an ancillary has no boxes to learn from, or nothing to label.

    Args:
        data: the images.
        part: the images that it is to label, ``labelled`` or ``unlabelled``.
    """
    lacking = {name: [one for one in data.names[name] if not data.knows_boxes(one)]
               for name in ("labelled", "val", "test")}
    lacks = [f"no boxes on {len(some)} of its {len(data.names[name])} {name} images, such as "
             f"{visible(some[0])}" for name, some in lacking.items() if some]
    if not len(boxed_part(data, part)):
        lacks.append(f"no {part} images with boxes")
    if lacks:
        raise ValueError(
            f"{data.config.dataset} has {lacks[0]}, so no ancillary can label them. Add boxes (the "
            "background must be the first class), or train `supervised` or a method that "
            "learns from unlabelled images."
        )

