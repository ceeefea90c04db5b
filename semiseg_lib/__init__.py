"""Semi-supervised semantic segmentation: the library of the book.

Arrows go one way: ``datasets`` and ``models`` feed ``methods``, which ``training`` and
``evaluation`` run, which ``experiments`` chains, which ``studies``, ``notebook`` and ``cli`` call.
``__init__.pyi`` lists the public names; each is imported when it is first used.
"""

from semiseg_lib.core import lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
