"""Stores: folders of files, written once and read often, whose manifest describes them."""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
