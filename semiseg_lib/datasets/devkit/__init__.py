"""The layout and annotations of VOCdevkit, shared by VOC, mini-VOC and your own folders."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
