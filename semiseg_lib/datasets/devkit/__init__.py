"""The layout and annotations of VOCdevkit, shared by VOC, mini-VOC and your own folders."""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
