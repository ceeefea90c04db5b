"""Widgets that work live in JupyterLab and, without kernel and network, in the HTML book."""

from semiseg_lib.notebook.widgets.alpha_explorer import AlphaExplorer
from semiseg_lib.notebook.widgets.crop_pair_explorer import CropPairExplorer
from semiseg_lib.notebook.widgets.cutmix_sampler import CutMixSampler
from semiseg_lib.notebook.widgets.error_map_explorer import ErrorMapExplorer
from semiseg_lib.notebook.widgets.margin_explorer import MarginExplorer
from semiseg_lib.notebook.widgets.pseudo_label_browser import PseudoLabelBrowser
from semiseg_lib.notebook.widgets.static_widget import StaticWidget
from semiseg_lib.notebook.widgets.threshold_explorer import ThresholdExplorer

__all__ = [
    "AlphaExplorer",
    "CropPairExplorer",
    "CutMixSampler",
    "ErrorMapExplorer",
    "MarginExplorer",
    "PseudoLabelBrowser",
    "StaticWidget",
    "ThresholdExplorer",
]
