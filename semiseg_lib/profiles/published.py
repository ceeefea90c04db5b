"""The published recipes of the systems that learn without boxes, as profiles.

``notebook/published_recipes.yml`` names the source of every value. What no source gives is this
book's choice, as is the rest of a profile: its stages with boxes are those of Self-Correcting
Networks.

Published epochs become steps, counted on the images that the system had
(:func:`semiseg_lib.profiles.published_shared.steps`). What the profiles cannot express stands
beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

from semiseg_lib.profiles import published_context, published_labels
from semiseg_lib.profiles.profile import Profile

RECIPES: Mapping[str, Mapping[str, Profile]] = {
    **published_labels.RECIPES, **published_context.RECIPES
}
"""The published recipes, by method and by the dataset that they are for."""
