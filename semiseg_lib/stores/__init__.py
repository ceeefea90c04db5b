"""Stores: folders of files, written once and read often, whose manifest describes them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
