"""The kinds of problems that an audit finds, with hints, and the histogram of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# {kind of problem: (text, hint)}
FAILS = {
    "missing image": ("images are missing",
                        "Complete the copy, or remove these names from the list."),
    "missing mask": ("masks are missing",
                     "Add the masks, or move these names to a list of images without masks."),
    "missing boxes": ("files of boxes are missing",
                      "Add the annotations, or read the list without boxes."),
    "unreadable image": ("images cannot be read", "Copy or download them again."),
    "unreadable mask": ("masks cannot be read", "Copy or download them again."),
    "unreadable boxes": ("files of boxes cannot be read",
                         "Each object needs a name and its four sides; correct the file."),
    "size": ("masks differ in size from their images",
             "Resize the mask (nearest neighbour), or fetch the pair again."),
    "lossy mask": ("masks are JPEGs, whose compression changes the ids",
                   "Recreate them as PNG, from the source."),
    "colour mask": ("masks hold colours where ids are expected",
                    "Save them as palette or grey PNGs whose pixel values are the ids."),
    "grey mask": ("masks are grey images where colours are expected",
                  "Put masks of ids into train_labels, val_labels and test_labels."),
    "unknown colours": ("masks hold colours that belong to no class",
                        "Was the mask smoothed or resized? Resize masks with nearest neighbour."),
    "unknown ids": ("masks hold ids that belong to no class",
                    "Map them to known ids or to 255 (void), or list all classes."),
    "white mask": ("masks hold only 0 and 255, and 255 means void",
                   "If white is the object, save it as 1."),
    "shuffled palette": ("masks show the right colours but hold other ids",
                         "They were saved from their colours; map each colour back to its id."),
    "train ids": ("files named labelIds hold trainIds",
                  "Recreate them with the owner's scripts, or name them labelTrainIds."),
    "label ids": ("files named labelTrainIds hold labelIds",
                  "Recreate them: the 34 ids must be mapped to 19 and 255 (void)."),
    "unknown box class": ("boxes have a class that the dataset does not know",
                          "Correct the name, or add the class."),
    "box outside": ("boxes do not lie in their image",
                    "Correct the sides (VOC counts pixels from 1)."),
}
NOTES = {
    "other palette": ("masks have a palette of their own; only their ids are used",
                      "Nothing to do if the ids in the table below are right."),
    "only void": ("masks have no labelled pixel", "Remove them from the labelled list."),
}
HINTS = {**FAILS, **NOTES}


@dataclass(frozen=True)
class Histogram:
    """Class frequencies in the masks of one list.

    Attributes:
        names: C class names; the last two entries below count void and values of no class.
        pixels: int64 (C + 2,), number of pixels.
        images: int64 (C + 2,), number of images in which the class occurs.
        masks: number of masks read.
    """

    names: tuple[str, ...]
    pixels: np.ndarray
    images: np.ndarray
    masks: int

    @property
    def shares(self) -> np.ndarray:
        """Return fractions of all pixels, float64 (C + 2,), in [0, 1]."""
        return self.pixels / max(self.pixels.sum(), 1)

    def rows(self, width: int = 24) -> list[dict[str, str]]:
        """Return a table of the classes that occur, with bars of at most ``width`` characters."""
        longest = self.shares.max() or 1.0
        return [
            {"class": name, "pixels": f"{100 * share:.2f} %", "images": str(count),
             "share": ("█" * round(width * share / longest)).ljust(width)}
            for name, share, count in zip(
                (*self.names, "void", "no class"), self.shares, self.images.tolist(), strict=True
            )
            if count
        ]
