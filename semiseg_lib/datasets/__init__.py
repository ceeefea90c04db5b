"""Datasets on disk: one module per dataset, with its declaration, and shared code."""

from semiseg_lib.datasets.dataset import Dataset, DatasetOptions, find, names, register, usable

__all__ = ["Dataset", "DatasetOptions", "find", "names", "register", "usable"]
