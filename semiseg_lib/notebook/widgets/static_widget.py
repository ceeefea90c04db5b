"""Base class of the book's widgets: one script, run live in JupyterLab or by the page alone."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, ClassVar

import anywidget

from semiseg_lib.core import escaping

HERE = Path(__file__).parent
PAYLOAD_LIMIT = 400_000  # bytes of text/html that one widget may add to a notebook


def read_source(*names: str) -> str:
    """Return the concatenated JavaScript or CSS files beside this module."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def lean(source: str) -> str:
    """Return JavaScript or CSS without indentation, blank lines and lines that are a comment."""
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("//", "/*")))


class StaticWidget(anywidget.AnyWidget):
    """A widget that also works without a kernel.

    A subclass names its ``scripts`` (defining ``mount(root, payload, state)``) and ``sheets``
    beside this module, and its ``root_class``; the traits listed in ``payload()["state"]`` are
    synchronized with the script. Its MIME bundle holds, next to the live view, ``text/html`` with
    the same script and all data embedded, so that an output also works where it is copied to, or
    beside another of its kind. Neither uses a network.
    """

    scripts: ClassVar[tuple[str, ...]]
    sheets: ClassVar[tuple[str, ...]]
    root_class: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # traitlets creates subclasses when it adds traits; those keep what they inherit.
        if "scripts" in cls.__dict__:
            cls._esm = read_source(*cls.scripts, "live.js")
            cls._css = read_source(*cls.sheets)
        super().__init_subclass__(**kwargs)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(self._answer)

    def payload(self) -> dict[str, Any]:
        """Return the data of the script, JSON-able, with ``label`` and ``state``."""
        raise NotImplementedError

    def fallback_png(self) -> bytes:
        """Return a PNG of the widget for readers without JavaScript."""
        raise NotImplementedError

    def text(self) -> str:
        """Return the text for readers without images, the same in every run."""
        raise NotImplementedError

    def to_html(self) -> str:
        """Return the widget as HTML that needs neither kernel nor network.

        Raises:
            ValueError: it would be larger than ``PAYLOAD_LIMIT`` bytes.
        """
        data = escaping.script_data(self.payload())
        key = hashlib.sha256(data.encode()).hexdigest()[:12]
        fallback = base64.b64encode(self.fallback_png()).decode()
        label = escaping.html(self.text())
        page = f"""<style>{lean(read_source(*self.sheets))}</style>
<div class="static-widget {self.root_class}" data-static-widget="{key}"
 role="group" aria-label="{label}">
<img src="data:image/png;base64,{fallback}" alt="{label}" style="max-width:100%">
<noscript><p>Run this cell, or allow JavaScript, to make the controls work.</p></noscript>
</div>
<script type="application/json" data-static-payload="{key}">{data}</script>
<script>(function () {{
{lean(read_source(*self.scripts, "standalone.js"))}
start("{key}");
}})();</script>"""
        size = len(page.encode())
        if size > PAYLOAD_LIMIT:
            raise ValueError(
                f"this widget would add {size:,} bytes to the notebook, more than "
                f"{PAYLOAD_LIMIT:,}: pass fewer or smaller images"
            )
        return page

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle, *metadata = super()._repr_mimebundle_(**kwargs)
        bundle = {**bundle, "text/plain": self.text(), "text/html": self.to_html()}
        return (bundle, *metadata)

    def _answer(self, _widget: Any, message: dict, _buffers: Any) -> None:
        if message.get("kind") == "payload":
            self.send({"kind": "payload", "payload": self.payload()})
