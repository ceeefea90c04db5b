"""Widgets in a browser: opening a page of them, looking at a canvas, standing in for a kernel."""

import base64
import zlib

import numpy as np

from semiseg_lib.core import escaping

WAITING = 15_000  # milliseconds

# A kernel's side of a live view: answers with the payload and holds the traits.
LIVE = """
<!doctype html><meta charset="utf-8"><div id="place"></div><script type="module">
const module = await import("data:text/javascript;base64," + btoa(String.fromCharCode(
  ...new TextEncoder().encode(SCRIPT))));
const [values, listeners] = [{ ...PAYLOAD.state }, {}];
window.model = {
  get: (name) => values[name],
  set: (name, value) => {
    values[name] = value;
    (listeners["change:" + name] ?? []).forEach((f) => f());
  },
  save_changes: () => { window.saved = (window.saved ?? 0) + 1; },
  on: (name, react) => (listeners[name] ??= []).push(react),
  off: () => {},
  send: () => listeners["msg:custom"].forEach((f) => f({ kind: "payload", payload: PAYLOAD })),
};
module.default.render({ model: window.model, el: document.getElementById("place") });
</script>
"""


def live(widget):
    """HTML of a widget beside a stand-in for its kernel, which the page has as ``window.model``."""
    script, payload = map(escaping.script_data, (widget._esm, widget.payload()))
    return LIVE.replace("SCRIPT", script).replace("PAYLOAD", payload)


def opened(page, tmp_path, *fragments):
    """Open a page of these pieces of HTML from the disk."""
    target = tmp_path / "page.html"
    target.write_text('<!doctype html><meta charset="utf-8">' + "".join(fragments),
                      encoding="utf-8")
    page.goto(target.as_uri())
    return ready(page)


def ready(page):
    """Wait until every widget has drawn: then its readout has text."""
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('output')];"
        " return all.length && all.every((output) => output.textContent); }", timeout=WAITING)
    return page


def pixels(place, panel, size=(24, 32)):
    """What a panel shows, one colour for each pixel of the image, uint8 (H, W, 3)."""
    canvas = place.locator("canvas").nth(panel)
    flat = canvas.evaluate("""(canvas, [height, width]) => {
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const [down, right] = [canvas.height / height, canvas.width / width];
      const found = [];
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
        const [row, column] = [Math.floor((y + 0.5) * down), Math.floor((x + 0.5) * right)];
        const at = 4 * (row * canvas.width + column);
        found.push(data[at], data[at + 1], data[at + 2]);
      }
      return found;
    }""", list(size))
    return np.array(flat, np.uint8).reshape(*size, 3)


SLIDER = "input[type=range]"


def move(page, place, *keys):
    place.locator(SLIDER).focus()
    for key in keys:
        page.keyboard.press(key)


def numbers(place):
    """The shares in the table, in percent, as they are written."""
    return place.locator("table.scores tbody tr").evaluate_all(
        "all => all.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))")


def written(share):
    return "–" if np.isnan(share) else f"{100 * share:.1f}"


def is_striped(colours):
    """Which pixels show the grey of the stripes or between them, bool (H, W)."""
    known = [(0x9A, 0xA0, 0xA8), (0xD9, 0xDC, 0xE0)]
    low, high = np.min(known, axis=0), np.max(known, axis=0)
    spread = colours.max(axis=2).astype(int) - colours.min(axis=2)
    return ((colours >= low) & (colours <= high)).all(axis=2) & (spread <= 14)


def unpacked(text, shape):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape)
