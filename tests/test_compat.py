"""The torchvision shim mends one kind of failed import, and touches nothing else."""

import importlib
import subprocess
import sys

import pytest
import torch

from semiseg_lib.core import compat

MISSING = "operator torchvision::nms does not exist"


@pytest.fixture
def not_yet_declared(monkeypatch):
    """As in a new process: nothing declared; declaring and purging modules is only recorded."""

    class RecordedLibrary:
        def __init__(self, namespace, kind):
            assert (namespace, kind) == ("torchvision", "DEF")

        def define(self, schema):
            self.declared.append(schema)

    RecordedLibrary.declared = []
    monkeypatch.setattr(compat, "_declared", None)
    monkeypatch.setattr(torch.library, "Library", RecordedLibrary)
    # The tests run in one process with others that hold torchvision's modules; keep those.
    monkeypatch.setattr(compat, "sys", type("Sys", (), {"modules": dict(sys.modules)}))
    return RecordedLibrary


def imports_that(*outcomes):
    """A stand-in for import_module with one outcome a call: an error to raise, or None."""
    remaining = list(outcomes)

    def import_module(name):
        assert name == "torchvision"
        outcome = remaining.pop(0)
        if outcome is not None:
            raise outcome

    return import_module


def test_a_matching_build_is_left_untouched(monkeypatch, not_yet_declared):
    monkeypatch.setattr(importlib, "import_module", imports_that(None))
    assert compat.make_torchvision_importable() is False
    assert not_yet_declared.declared == []
    assert compat._declared is None


@pytest.mark.parametrize("operator", ["nms", "qnms"])
def test_the_missing_schemas_are_declared_once(monkeypatch, not_yet_declared, operator):
    error = RuntimeError(f"operator torchvision::{operator} does not exist")
    monkeypatch.setattr(importlib, "import_module", imports_that(error, None))
    assert compat.make_torchvision_importable() is True
    assert compat.make_torchvision_importable() is True
    assert not_yet_declared.declared == list(compat.MISSING_SCHEMAS)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::roi_align does not exist"),
        RuntimeError("CUDA error: out of memory"),
        ImportError("No module named 'torchvision'"),
    ],
)
def test_other_failures_are_passed_on(monkeypatch, not_yet_declared, error):
    monkeypatch.setattr(importlib, "import_module", imports_that(error))
    with pytest.raises(type(error), match=str(error)):
        compat.make_torchvision_importable()
    assert not_yet_declared.declared == []


def test_a_second_failure_is_passed_on(monkeypatch, not_yet_declared):
    second = RuntimeError("something else is broken")
    monkeypatch.setattr(importlib, "import_module", imports_that(RuntimeError(MISSING), second))
    with pytest.raises(RuntimeError, match="something else"):
        compat.make_torchvision_importable()


def test_what_the_book_uses_of_torchvision_works_in_a_new_process():
    program = """
from semiseg_lib.core.compat import make_torchvision_importable
make_torchvision_importable()
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.ops import masks_to_boxes
import timm
image = tv_tensors.Image(torch.arange(12.).reshape(1, 3, 4))
mask = tv_tensors.Mask(torch.arange(12).reshape(1, 3, 4))
image, mask = v2.RandomHorizontalFlip(p=1.0)(image, mask)
assert image[0, 0].tolist() == [3, 2, 1, 0] and mask[0, 0].tolist() == [3, 2, 1, 0]
assert masks_to_boxes(torch.ones(1, 3, 4)).tolist() == [[0, 0, 3, 2]]
assert timm.create_model("resnet18", features_only=True).eval()(torch.ones(1, 3, 32, 32))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
