"""Training: the loop, the optimizer, checkpoints, the folder of a run, memory estimates."""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
