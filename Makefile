# make train: set up .venv and run the main job on the shipped sample.  make test: set up and test.
# make test-fast: tests that need no process, browser or training of their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install train test test-fast lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@# opencv-python needs libGL and X11 libraries, which servers lack; the headless build is the same cv2 without.
	$(BIN)/python -c 'import cv2' || $(BIN)/pip install --quiet --force-reinstall --no-deps --constraint constraints.txt opencv-python-headless
	touch $(STAMP)

train: $(STAMP)
	$(BIN)/python train.py

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-fast: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info
