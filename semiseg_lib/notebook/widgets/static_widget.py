"""The base of the book's widgets: one script, run live by JupyterLab or by the page alone."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any, ClassVar

import anywidget

HERE = Path(__file__).parent
PAYLOAD_LIMIT = 400_000  # bytes of text/html that one widget may add to a notebook


def read_source(*names: str) -> str:
    """JavaScript or CSS files that lie beside this module, one behind the other."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


class StaticWidget(anywidget.AnyWidget):
    """A widget that goes on working where there is no kernel.

    A subclass names its ``scripts`` (defining ``mount(root, payload, state)``) and ``sheets``
    beside this module, and its ``root_class``; it keeps the traits that ``payload()["state"]``
    lists in step with the script. Its mime bundle carries, next to the live view, ``text/html``
    with the same script and all data embedded. No network is used by either.
    """

    scripts: ClassVar[tuple[str, ...]]
    sheets: ClassVar[tuple[str, ...]]
    root_class: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # traitlets subclasses on the fly when it adds traits; those keep what they inherit.
        if "scripts" in cls.__dict__:
            cls._esm = read_source(*cls.scripts, "live.js")
            cls._css = read_source(*cls.sheets)
        super().__init_subclass__(**kwargs)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(self._answer)

    def payload(self) -> dict[str, Any]:
        """All that the script draws from, ready for JSON; with ``label`` and ``state``."""
        raise NotImplementedError

    def fallback_png(self) -> bytes:
        """A picture of the widget for readers without JavaScript."""
        raise NotImplementedError

    def text(self) -> str:
        """What a reader without pictures gets; the same in every run."""
        raise NotImplementedError

    def to_html(self) -> str:
        """The widget as a piece of HTML that needs neither kernel nor network.

        Raises:
            ValueError: it would weigh more than ``PAYLOAD_LIMIT`` bytes.
        """
        data = json.dumps(self.payload(), separators=(",", ":"), sort_keys=True)
        data = data.replace("</", "<\\/")
        key = hashlib.sha256(data.encode()).hexdigest()[:12]
        fallback = base64.b64encode(self.fallback_png()).decode()
        label = html.escape(self.text())
        page = f"""<style>{read_source(*self.sheets)}</style>
<div class="static-widget {self.root_class}" data-static-widget="{key}"
 role="group" aria-label="{label}">
<img src="data:image/png;base64,{fallback}" alt="{label}" style="max-width:100%">
<noscript><p>Run this cell, or allow JavaScript, to make the controls work.</p></noscript>
</div>
<script type="application/json" data-static-payload="{key}">{data}</script>
<script>(function () {{
{read_source(*self.scripts, "standalone.js")}
start("{key}");
}})();</script>"""
        size = len(page.encode())
        if size > PAYLOAD_LIMIT:
            raise ValueError(
                f"this widget would add {size:,} bytes to the notebook, more than "
                f"{PAYLOAD_LIMIT:,}: pass fewer or smaller pictures"
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
