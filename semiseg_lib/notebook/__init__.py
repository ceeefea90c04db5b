"""What a reader meets in a notebook cell: tables, figures, widgets, checks of claims."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["chapter", "checks", "plots", "published", "tables", "widgets"]
)
