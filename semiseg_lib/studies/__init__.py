"""Studies: experiments over several arms and seeds, and the records of their scores.

A study is a list of arms. Its records are small JSON files in ``measured/``; the chapters
read their tables from them, and ``semiseg study NAME`` makes them again.
"""

from semiseg_lib.studies.arms import Arm
from semiseg_lib.studies.catalogue import LOOSE, MISSED, STUDIES, TIGHT, linear, method, primary
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
)
from semiseg_lib.studies.scores import Rounds, judges_fairly, percent
from semiseg_lib.studies.summary import conditions, score_rows

__all__ = [
    "LOOSE", "MISSED", "SIGN", "STUDIES", "TIGHT", "Arm", "Records", "Rounds", "conditions",
    "current", "dataset_of", "judges_fairly", "linear", "mark_of", "method", "percent",
    "primary", "read", "read_together", "record_path", "run", "score_rows",
]
