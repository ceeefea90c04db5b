"""Build the package with the book's table of contents, ``book.yml``, as one of its resources."""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithContents(build_py):
    """Copy ``book.yml`` to where ``semiseg_lib.notebook.chapter`` reads it without a checkout."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if not self.editable_mode:
            copyfile("book.yml", Path(self.build_lib) / "semiseg_lib" / "notebook" / "book.yml")


setup(cmdclass={"build_py": BuildWithContents})
