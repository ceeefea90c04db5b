"""Experiments: runs as values, the one function that resolves them, and the storylines.

``resolve(value, machine)`` finds or makes what a value stands for. The storylines name the values:
:mod:`self_correction` (boxes as weak labels), :mod:`semi_supervised` (no boxes),
:mod:`pseudo_labelling` (iterated pseudo-labelling). ``__init__.pyi`` lists the names; each is
imported when it is first used.
"""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
