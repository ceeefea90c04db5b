"""Studies: experiments over several arms and seeds, and the records of their scores.

A study is a list of arms. Its records are small JSON files in ``measured/``; the chapters
read their tables from them, and ``semiseg study NAME`` makes them again.
"""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
