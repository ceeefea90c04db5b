"""Studies: the same question asked with several seeds, and the records that answer it.

A study is a list of arms. Its records are small JSON files in ``notebooks/records``; the chapters
draw their tables from them, and ``semiseg study NAME`` makes them again.
"""

from semiseg_lib.studies.arms import Arm, PhotoArm
from semiseg_lib.studies.catalogue import LOOSE, MISSED, STUDIES, TIGHT, linear
from semiseg_lib.studies.records import Records, dataset_of, read, record_path, run, this_machine
from semiseg_lib.studies.scores import NONE, SCORES, percent, run_arm

__all__ = [
    "LOOSE", "MISSED", "NONE", "SCORES", "STUDIES", "TIGHT", "Arm", "PhotoArm", "Records",
    "dataset_of", "linear", "percent", "read", "record_path", "run", "run_arm", "this_machine",
]
