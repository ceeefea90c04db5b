"""Renderer of notebook outputs as HTML: myst-nb's, plus the figures' alt texts."""

from __future__ import annotations

from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer


class DescribedFigureRenderer(NbElementRenderer):
    """Renderer that gives every stored image the `alt` text published with it.

    `plots.show(figure, alt=...)` stores it in the output's metadata, under the mime
    type; myst-nb itself reads only width and height from there. Registered in pyproject.toml.
    """

    def render_image(self, data: MimeData) -> list[nodes.Element]:
        """Render an image with its description as alt text."""
        images = super().render_image(data)
        description = data.output_metadata.get(data.mime_type, {}).get("alt")
        if description:
            for image in images:
                image["alt"] = description
        return images
