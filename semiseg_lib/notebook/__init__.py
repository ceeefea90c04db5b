"""What a reader meets in a notebook cell: tables, figures, widgets, checks of claims."""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, ["chapter", "checks", "plots", "published", "tables", "widgets"]
)
