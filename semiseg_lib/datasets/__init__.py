"""What lies on disk: one file per dataset, which declares itself, and what the files share."""

from semiseg_lib.datasets.dataset import Dataset, DatasetOptions, find, names, register, usable

__all__ = ["Dataset", "DatasetOptions", "find", "names", "register", "usable"]
