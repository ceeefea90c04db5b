"""The runs of self-correction with boxes as weak labels, each as a value.

The ancillary sees boxes and labels the unlabelled images; the primary learns from masks and from
these labels, corrected as it goes. The controls have the same steps without the idea.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from semiseg_lib.batches.options import Rule
from semiseg_lib.experiments.values import BoxLabels, Logits, MixedLogits, Run
from semiseg_lib.methods import ConvPrimaryConfig, PrimaryConfig, SupervisedConfig
from semiseg_lib.recipes import Profile
from semiseg_lib.training.options import TrainConfig

UNCORRECTED = PrimaryConfig(correction="none")
"""Options of a primary that learns the ancillary's labels as they are, the control."""


def supervised(profile: Profile, seed: int, draw: int = 0) -> Run:
    """Return the run on masks alone.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        draw: selects other initial weights; 0 for those of the seed.
    """
    return Run.of(profile, seed, profile.supervised, profile.train_supervised, draw=draw)


def ancillary(profile: Profile, seed: int) -> Run:
    """Return the run that sees boxes, trained on the labelled images.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
    """
    return Run.of(profile, seed, profile.ancillary, profile.train_ancillary)


def half_ancillary(profile: Profile, seed: int) -> Run:
    """Return an ancillary that sees only half of the labelled images.

    On the other half its errors are those on new images: what a correction learns from.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
    """
    return replace(ancillary(profile, seed), masks="first half")


def logits(
    profile: Profile, seed: int, part: Literal["labelled", "unlabelled"] = "unlabelled"
) -> Logits:
    """Return the ancillary's logits of the unlabelled images with boxes, or of the labelled images.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        part: the images: ``unlabelled`` or ``labelled``.
    """
    return Logits(ancillary(profile, seed), part, profile.logits_bits)


def own_logits(profile: Profile, seed: int) -> Logits:
    """Return the supervised run's logits of the unlabelled images with boxes, which it ignores.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
    """
    return Logits(supervised(profile, seed), "unlabelled", profile.logits_bits)


def drawn_labels(profile: Profile, seed: int, rule: Rule = "grabcut") -> BoxLabels:
    """Return labels of the unlabelled images with boxes that are drawn by a rule.

    Args:
        profile: the numbers.
        seed: draws the labelled images; the others get labels.
        rule: how a box becomes a label.
    """
    return BoxLabels(supervised(profile, seed), rule, bits=profile.logits_bits)


def second_opinion(profile: Profile, seed: int, alpha: float = 0.5) -> MixedLogits:
    """Return the fixed mixture of the ancillary's and the supervised run's logits.

    It is linear correction by a model that does not learn on: a control of the one that does.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        alpha: the weight of the ancillary's logits, >= 0.
    """
    return MixedLogits(
        supervised(profile, seed), logits(profile, seed), alpha, profile.logits_bits
    )


def primary(
    profile: Profile,
    seed: int,
    options: PrimaryConfig | ConvPrimaryConfig | None = None,
    labels: Logits | MixedLogits | BoxLabels | None = None,
) -> Run:
    """Return the run that is deployed: it learns from masks and (corrected) ancillary labels.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: the correction; None takes the profile's.
        labels: logits to learn the unlabelled images from; None takes the ancillary's.
    """
    options = options or profile.primary
    if isinstance(options, ConvPrimaryConfig):
        return conv_primary(profile, seed, options)
    return Run.of(profile, seed, options, profile.train_primary,
               unlabelled_logits=labels or logits(profile, seed))


def conv_start(profile: Profile, seed: int, options: ConvPrimaryConfig) -> Run:
    """Return the start of a convolutional correction: it learns to correct honest errors.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: the correction.
    """
    seen = Logits(half_ancillary(profile, seed), "labelled", profile.logits_bits)
    return Run.of(profile, seed, replace(options, stage="start"), profile.train_start,
               labelled_logits=seen)


def conv_primary(profile: Profile, seed: int, options: ConvPrimaryConfig) -> Run:
    """Return the last of the three stages of convolutional self-correction.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: the correction; with stage ``start`` the result is :func:`conv_start`.
    """
    start = conv_start(profile, seed, options)
    if options.stage == "start":
        return start
    return Run.of(
        profile, seed, options, profile.train_primary, start=(start,),
        labelled_logits=logits(profile, seed, "labelled"),
        unlabelled_logits=logits(profile, seed),
    )


def equal_steps(
    profile: Profile, seed: int, options: SupervisedConfig | None = None
) -> Run:
    """Return the run on masks alone with the steps and the images per step of a primary.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: None takes the profile's.
    """
    options = options or profile.supervised
    return Run.of(profile, seed, options, _labelled_only(profile.train_primary))


def warm_primary(profile: Profile, seed: int, options: PrimaryConfig | None = None) -> Run:
    """Return a primary that starts, as a convolutional one does, with steps on the masks alone.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: the correction; None takes the profile's.
    """
    start = Run.of(profile, seed, profile.supervised, profile.train_start)
    return replace(primary(profile, seed, options), start=(start,))


def second_round(
    profile: Profile, seed: int, options: PrimaryConfig | None = None, alpha: float = 0.5
) -> Run:
    """Return a fresh primary on the fixed, mixed labels of the first primary and the ancillary.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
        options: the correction of the first primary; None takes the profile's.
        alpha: the weight of the ancillary's logits in the mix, >= 0.
    """
    agreed = MixedLogits(
        primary(profile, seed, options), logits(profile, seed), alpha, profile.logits_bits
    )
    return primary(profile, seed, UNCORRECTED, agreed)


def all_masks(profile: Profile, seed: int) -> Run:
    """Return the run on all masks, hidden ones too, with the steps and images of a primary.

    Args:
        profile: the numbers.
        seed: draws the labelled images, the initial weights and the batches.
    """
    train = _labelled_only(profile.train_primary)
    return Run.of(profile, seed, profile.supervised, train, masks="all")


def _labelled_only(train: TrainConfig) -> TrainConfig:
    """Return the options of a training with as many images per step, all of them labelled."""
    images = train.batch_labelled + train.batch_unlabelled
    return replace(train, batch_labelled=images, batch_unlabelled=0)
