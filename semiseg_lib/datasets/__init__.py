"""Datasets on disk: one module per dataset, with its declaration, and shared code."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
