"""Sliders that work live in JupyterLab and, with no kernel and no network, in the HTML book."""

from semiseg_lib.widgets.alpha_explorer import AlphaExplorer
from semiseg_lib.widgets.static_widget import StaticWidget

__all__ = ["AlphaExplorer", "StaticWidget"]
