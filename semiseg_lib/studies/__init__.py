"""Studies: the same question asked with several seeds, and the records that answer it.

A study is a list of arms. Its records are small JSON files in ``notebooks/records``; the chapters
draw their tables from them, and ``semiseg study NAME`` makes them again.
"""

from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.catalogue import LOOSE, MISSED, STUDIES, TIGHT, linear
from semiseg_lib.studies.records import (
    SIGN,
    Records,
    current,
    dataset_of,
    mark_of,
    read,
    read_together,
    record_path,
    run,
    this_machine,
)
from semiseg_lib.studies.scores import NONE, SCORES, percent, run_arm

__all__ = [
    "LOOSE", "MISSED", "NONE", "SCORES", "SIGN", "STUDIES", "TIGHT", "Arm",
    "Records", "current", "dataset_of", "linear", "mark_of", "percent", "read", "read_together",
    "record_path", "run", "run_arm", "this_machine",
]
