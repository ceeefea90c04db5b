# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: Start here
#
# The exercises stand in [chapter 00](../00_start_here.ipynb). This notebook runs without it.

# %% jupyter={"source_hidden": true} tags=["install", "remove-cell"]
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
    copies.append("")
    source = os.path.expanduser(os.getenv("SEMISEG_REPOSITORY") or copies[0])
    if not source:
        raise ModuleNotFoundError("semiseg_lib. Run %pip install YOUR_COPY.")
    print("semiseg_lib is missing here. Installing it from", source, "...")
    with TemporaryDirectory() as copy:
        if Path(source).is_dir():  # pip would leave what it builds there
            ignored = ignore_patterns(".*", "_build", "build", "data")
            source = copytree(source, f"{copy}/copy", ignore=ignored)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", source]
        if (done := run(pip, capture_output=True, text=True)).returncode:
            raise RuntimeError(f"It was not installed. {done.stderr}")
    print("Installed. If an import fails now, restart the kernel.")

# %% tags=["parameters"]
# "smoke", "laptop" ...; None asks SEMISEG_PROFILE, failing that laptop
profile = None
seed = 11  # draws the labelled pictures, the first weights and the batches
device = None  # "cpu" to stay on the CPU; None takes the best there is

# %% tags=["nbval-ignore-output"]
from torch import nn

from semiseg_lib import chapter, checks, resolve, self_correction as story

profile = chapter.begin("00_start_here", profile, device)


# %% tags=["solution"]
def count_parameters(module: nn.Module) -> int:
    """The number of trainable parameters of a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


# %% tags=["check", "nbval-check-output"]
# 3·4·3·3 weights and 4 biases, inside of another module
example = nn.Sequential(nn.Conv2d(3, 4, kernel_size=3), nn.ReLU())
with checks.exercise("0.1"):
    assert count_parameters(example) == 112, ("expected 112, got "
                                              f"{count_parameters(example)}")
    example[0].bias.requires_grad_(False)
    assert count_parameters(example) == 108, (
        "parameters that are not trained do not count"
    )

# %% [markdown]
# Now count the network inside `primary.method`, and its sibling that reads the boxes as well. How
# many of the extra weights does the ancillary spend on reading boxes?

# %%
# learns from the same masks, and is also shown the boxes
ancillary = resolve(story.ancillary(profile, seed), device)
# learns from the masks and from those labels, correcting them
primary = resolve(story.primary(profile, seed), device)

# %% tags=["check"]
with checks.after("0.1"):
    for name, trained in {"primary": primary, "ancillary": ancillary}.items():
        print(f"{name:<9} {count_parameters(trained.method.network):>8,} "
              "parameters")
