"""Experiments: runs as values, the one function that resolves them, and the storylines.

``resolve(value, machine)`` finds or makes what a value stands for. The storylines name the values:
:mod:`self_correction` (boxes as weak labels), :mod:`semi_supervised` (no boxes),
:mod:`pseudo_labelling` (iterated pseudo-labelling).
"""

from semiseg_lib.experiments import pseudo_labelling, self_correction, semi_supervised
from semiseg_lib.experiments.identity import Identity, Inputs
from semiseg_lib.experiments.labels import corrected_logits, evaluate_unlabelled
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.experiments.resolving import resolve
from semiseg_lib.experiments.trained import Trained, open_run
from semiseg_lib.experiments.values import (
    Logits,
    MixedLogits,
    PseudoLabels,
    Run,
    networks_trained,
    runs_behind,
)

__all__ = [
    "Identity", "Inputs", "Logits", "Machine", "MixedLogits", "PseudoLabels", "Run", "Trained",
    "corrected_logits", "evaluate_unlabelled", "networks_trained", "open_run",
    "pseudo_labelling", "resolve",
    "runs_behind", "self_correction", "semi_supervised",
]
