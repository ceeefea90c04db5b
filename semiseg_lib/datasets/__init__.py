"""Datasets on disk: one module per dataset, with its declaration, and shared code."""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
