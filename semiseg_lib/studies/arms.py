"""Arms of a study: what one row trains, as a value, and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from semiseg_lib.core.fingerprint import fingerprint
from semiseg_lib.experiments import Run, runs_behind
from semiseg_lib.experiments.machine import AnyMachine, Machine
from semiseg_lib.recipes import Profile
from semiseg_lib.studies.scores import Rounds, Scores, reads, scored

MakeValue = Callable[[Profile, int], "Run | Rounds"]
"""Function from a profile and a seed to the value that is trained."""


@dataclass(frozen=True)
class Arm:
    """One arm of a study.

    Attributes:
        text: its description in tables.
        make: returns the run, or the rounds of pseudo-labelling, of a profile and a seed.
        score: the function that scores it, a key of :data:`semiseg_lib.studies.scores.READS`.
        dataset: the dataset whose profile it runs with.
        labelled: the number of images with masks; None for the profile's.
        data_options: options of the dataset that replace the profile's.
        seeds: the seeds of its records in the profile that the book prints; () for the profile's.
    """

    text: str
    make: MakeValue
    score: Callable[[Run | Rounds, Profile, Machine], Scores] = scored
    dataset: str = "minivoc"
    labelled: int | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    def profile(self, profile: Profile) -> Profile:
        """Return the profile on this arm's images and boxes.

        Args:
            profile: the study's profile.
        """
        data = profile.data.with_options(**self.data_options)
        return replace(profile, data=replace(data, labelled=self.labelled or data.labelled))

    def seeds_in(self, profile: Profile) -> tuple[int, ...]:
        """Return the seeds of the arm's records in a profile.

        Args:
            profile: the study's profile.
        """
        return self.seeds if self.seeds and profile.asserts_claims else profile.seeds

    def value(self, profile: Profile, seed: int) -> Run | Rounds:
        """Return what is trained, as a value.

        Args:
            profile: the study's profile.
            seed: draws the labelled images, the initial weights and the batches.
        """
        return self.make(self.profile(profile), seed)

    def fingerprint(self, profile: Profile) -> str:
        """Return ten hex digits over all options that affect the scores, except the seed.

        Args:
            profile: the study's profile.
        """
        return fingerprint(self.options(profile))

    def options(self, profile: Profile) -> dict[str, Any]:
        """Return all options that affect the scores, except the seed: the run's and the score's.

        Args:
            profile: the study's profile.
        """
        read = {name: getattr(profile, name) for name in reads(self.score).options}
        return {"value": self.value(profile, 0), "protocol": profile.protocol, **read}

    def runs(self, profile: Profile, seed: int = 0) -> tuple[Run, ...]:
        """Return every run behind the scores, in the order of training.

        For rounds of pseudo-labelling, the first round stands for all.

        Args:
            profile, seed: as for :meth:`value`.
        """
        value = self.value(profile, seed)
        return value.runs() if isinstance(value, Rounds) else tuple(runs_behind(value))

    def run(self, profile: Profile, seed: int, machine: AnyMachine = None) -> Scores:
        """Train the arm with one seed and return its scores; finished runs are loaded.

        Args:
            profile, seed: as for :meth:`value`.
            machine: the machine to compute on, or the name of a device; None for the best there is.
        """
        chosen = self.profile(profile)
        return self.score(self.make(chosen, seed), chosen, Machine.of(machine))
