"""Dataset acquisition: downloads, archives, and file counts to verify completeness."""

from .download import Archive, fetch, unpack
from .frames import extract_frames
from .parts import Count, Download, count_files, count_names, get_archive
from .sbd import AUG_FOLDER, make_aug, read_sbd_mask

__all__ = [
    "AUG_FOLDER",
    "Archive",
    "Count",
    "Download",
    "count_files",
    "count_names",
    "extract_frames",
    "fetch",
    "get_archive",
    "make_aug",
    "read_sbd_mask",
    "unpack",
]
