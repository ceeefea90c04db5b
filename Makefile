# Each line below is a command that can be typed. On Windows, or without Make: see README.md.
#
#   make setup    install everything into .venv          make book    run the book, build the HTML
#   make lab      open the book in JupyterLab            make test    run every test and chapter
#   make html     HTML from the stored outputs           make sync    authors: re-run and store
#   make clean    remove what was built                  make records run the main story's experiments
#
# PROFILE=smoke|laptop             how large the runs are (default laptop)
# INDEX=https://download.pytorch.org/whl/cpu   another package index for PyTorch itself
# PYTHON=python3.12                the Python that makes .venv (3.11 or newer)
PYTHON  ?= python3
PROFILE ?= laptop
INDEX   ?=

PIP     := .venv/bin/python -m pip
BOOK    := .venv/bin/python -m bookkit
READY   := .venv/.installed

STORY   := .venv/bin/python -c "from bookkit.results import STORY_STUDIES; print(*STORY_STUDIES)"

.PHONY: help setup lab book html test sync records clean
help:
	@sed -n '3,10s/^# \{0,1\}//p' Makefile

setup: $(READY)

$(READY): pyproject.toml requirements.lock
	@echo "Installing into .venv: 2 to 10 minutes and about 2 GB on disk"
	@echo "(up to 8 GB on Linux, where PyTorch brings CUDA along, unless INDEX names its CPU index)."
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make setup PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(if $(INDEX),$(PIP) install --quiet -c requirements.lock --no-deps --index-url $(INDEX) torch torchvision)
	$(PIP) install --quiet -c requirements.lock -e ".[lab,test,book,browser]"
	@touch $(READY)
	@echo "Installed. Next: make lab, make book or make test."

lab: $(READY)
	SEMISEG_PROFILE=$(PROFILE) .venv/bin/jupyter lab notebooks/00_start_here.ipynb

book: $(READY)
	$(BOOK) build --profile $(PROFILE)

html: $(READY)
	$(BOOK) html

test: $(READY)
	@echo "Every test, and every chapter in the smoke profile: about 20 minutes on 2 idle cores, 3 GB of memory."
	.venv/bin/python -m pytest

records: $(READY)
	@echo "The records of the main story in the laptop profile, on the CPU: hours. notebooks/results.md lists"
	@echo "the runs. Interrupted, the same command goes on where it was."
	@studies=$$($(STORY)) && for study in $$studies; do \
		.venv/bin/semiseg study $$study --profile laptop --device cpu || exit 1; done
	@echo "Made: semiseg_lib/studies/measured. Next: make sync."

sync: $(READY)
	$(BOOK) sync

clean:
	rm -rf _build
