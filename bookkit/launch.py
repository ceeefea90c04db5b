"""What follows from the repository's public address: launch buttons and the cell that installs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

INSTALL_TAG = "install"
ON_REQUEST = ("Colab", "Binder", "Codespaces")
GITHUB = "https://github.com/"
BADGES = {
    "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
    "Binder": "https://mybinder.org/badge_logo.svg",
    "Codespaces": "https://github.com/codespaces/badge.svg",
}
ICONS = {  # of the theme
    "Colab": "_static/images/logo_colab.png",
    "Binder": "_static/images/logo_binder.svg",
    "Codespaces": "fab fa-github",
    "JupyterHub": "_static/images/logo_jupyterhub.svg",
}
NO_ADDRESS = ("*The public address of this copy is not filled in, so there are no buttons here. "
              "To try the book, install it as above.*")

INSTALL_CELL = '''\
# Installs the library where it is missing, as on Colab; else does nothing.
from importlib import util
needed = "semiseg_lib", "torch", "timm", "tyro", "anywidget", "lazy_loader"
if None in [getattr(util.find_spec(one), "origin", None) for one in needed]:
    import os
    import sys
    from pathlib import Path
    from shutil import copytree, ignore_patterns
    from subprocess import run
    from tempfile import TemporaryDirectory
    copies = [str(one) for one in (Path.cwd(), *Path.cwd().parents)
              if (one / "semiseg_lib" / "__init__.py").is_file()]
    copies.append("{address}")
    source = os.path.expanduser(os.getenv("SEMISEG_REPOSITORY") or copies[0])
    if not source:
        raise ModuleNotFoundError("semiseg_lib. Run %pip install YOUR_COPY.")
    print("semiseg_lib is missing here. Installing it from", source, "...")
    with TemporaryDirectory() as copy:
        if Path(source).is_dir():  # pip would leave what it builds there
            ignored = ignore_patterns(".*", "_build", "build", "data")
            source = copytree(source, f"{{copy}}/copy", ignore=ignored)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", source]
        if (done := run(pip, capture_output=True, text=True)).returncode:
            raise RuntimeError(f"It was not installed. {{done.stderr}}")
    print("Installed. If an import fails now, restart the kernel.")'''


@dataclass(frozen=True)
class Repository:
    """Where the repository is public.

    Attributes:
        url: https address without a trailing slash; "" if it is not known: no links are made then.
        branch: branch, tag or commit.
        jupyterhub: address of a hub with nbgitpuller; "" for none.
        buttons: services to link to, of ON_REQUEST.

    Raises:
        ValueError: a value is not an address, a branch or a service.
    """

    url: str = ""
    branch: str = "main"
    jupyterhub: str = ""
    buttons: tuple[str, ...] = ON_REQUEST

    def __post_init__(self) -> None:
        for name in ("url", "jupyterhub"):
            address = getattr(self, name)
            if address and not re.fullmatch(r"https?://[\w.:-]+(/[\w.~-]+)*", address):
                raise ValueError(f"{name} must be like {GITHUB}OWNER/NAME, not {address!r}")
        if re.match(r"https?://(www\.)?github\.com/", self.url, re.IGNORECASE) and not (
            self.url.startswith(GITHUB) and self.url.count("/") == 4
        ):
            raise ValueError(f"url must be like {GITHUB}OWNER/NAME, not {self.url!r}")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", self.branch):
            raise ValueError(f"branch must name a branch, not {self.branch!r}")
        if unknown := sorted(set(self.buttons) - set(ON_REQUEST)):
            known = ", ".join(ON_REQUEST)
            raise ValueError(f"buttons: {', '.join(unknown)} is not known; known: {known}")

    def links(self, path: str) -> dict[str, str]:
        """Return the links that open a file of the repository, by service; {} without ``url``.

        Colab and Codespaces open repositories on GitHub alone. A codespace opens with the
        repository, not with the file.
        """
        if not self.url:
            return {}
        links = {}
        branch, place = quote(self.branch, safe=""), f"?urlpath=lab/tree/{path}"
        if self.url.startswith(GITHUB):
            name = self.url.removeprefix(GITHUB)
            links = {
                "Colab": f"https://colab.research.google.com/github/{name}/blob/{self.branch}/{path}",
                "Binder": f"https://mybinder.org/v2/gh/{name}/{branch}{place}",
                "Codespaces": f"https://codespaces.new/{name}/tree/{self.branch}",
            }
        else:
            address = quote(self.url, safe="")
            links["Binder"] = f"https://mybinder.org/v2/git/{address}/{branch}{place}"
        links = {service: links[service] for service in self.buttons if service in links}
        if self.jupyterhub:
            folder = self.url.rpartition("/")[2]
            values = {"repo": self.url, "urlpath": f"lab/tree/{folder}/{path}",
                      "branch": self.branch}
            links["JupyterHub"] = (
                f"{self.jupyterhub}/hub/user-redirect/git-pull?{urlencode(values, safe='/')}"
            )
        return links

    def badges(self, path: str) -> str:
        """Return the links of a file as badges in Markdown, or a line that says why not."""
        badges = []
        for service, link in self.links(path).items():
            label = f"Open in {service}"
            shown = f"![{label}]({BADGES[service]})" if service in BADGES else label
            badges.append(f"[{shown}]({link})")
        return "\n".join(badges) or NO_ADDRESS

    def install_cell(self) -> str:
        """Return the source of the cell that begins every chapter's code."""
        return INSTALL_CELL.format(address=self.url and f"git+{self.url}@{self.branch}")


def add_buttons(
    repository: Repository, _app: Any, page: str, _template: str, context: dict, _tree: Any
) -> None:
    """Add a menu of launch buttons to the header of a notebook's page, in place.

    For Sphinx's event html-page-context, after sphinx_book_theme has begun the header's buttons.
    The theme knows no Codespaces, hence this menu in place of its own.
    """
    links = repository.links(f"notebooks/{page}.ipynb")
    if not links or context.get("page_source_suffix") != ".ipynb":
        return
    buttons = [
        {"type": "link", "text": service, "tooltip": f"Open in {service}", "url": link,
         "icon": ICONS[service]}
        for service, link in links.items()
    ]
    context["header_buttons"].insert(0, {
        "type": "group", "label": "launch-buttons", "icon": "fas fa-rocket",
        "tooltip": "Open this chapter and run it", "buttons": buttons,
    })
