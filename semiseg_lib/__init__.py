"""semiseg_lib: the small library beside the book on semi-supervised semantic segmentation.

Arrows go one way: ``datasets`` and ``models`` feed ``methods``, which ``train`` and ``evaluate``
run, which ``stages`` chains, which the command line, the widgets and the notebooks call.
"""

__version__ = "0.1.0"
