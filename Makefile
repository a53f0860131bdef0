# make quickstart   the whole method on the toy world, to output/quickstart/report.html (TASK=panoptic, TASK=instance)
# make test         the tests
# Each sets up .venv from PyPI by itself.

PYTHON ?= python3
VENV ?= .venv
RUN = OMP_WAIT_POLICY=passive $(VENV)/bin/python
READY = $(VENV)/.ready
TESTABLE = $(VENV)/.testable

.PHONY: help setup quickstart camvid test test-detectron2 lint toy-base toy-backbone benchmark clean

help:
	@sed -n 's/^# //p' Makefile | head -3; echo "also: make setup camvid test-detectron2 lint toy-base toy-backbone benchmark"

setup: $(READY)

$(READY): setup.py constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "Python 3.10 to 3.13 is needed, found %d.%d: give PYTHON=/path/to/python" % v)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt setuptools wheel torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[generate,train]'
	touch $(READY)

# What the tests need on top. It slows the tools' start: transformers imports what it finds, datasets and pandas too.
$(TESTABLE): $(READY)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(TESTABLE)

TASK ?= semantic
quickstart: $(READY)
	$(RUN) tools/quickstart.py --output output/quickstart$(addprefix -,$(filter-out semantic,$(TASK))) task $(TASK)

camvid: $(READY)
	$(RUN) tools/quickstart.py --recipe camvid --output output/camvid

test: $(TESTABLE)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q tests

# Against the real Detectron2 and Mask2Former, in an environment that has them: make test-detectron2 PYTHON=/path/to/python
test-detectron2:
	$(PYTHON) tests/plugin/packages.py
	PYTHONPATH=.:$$PYTHONPATH OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(PYTHON) -m pytest -q tests/plugin

lint: $(TESTABLE)
	$(VENV)/bin/ruff check seggen_d2 tools datasets tests

# The tiny base that ships in seggen_d2/generators/toy_base: made anew, seeded, resumable; two and a half hours on one core.
toy-base: $(READY)
	OMP_NUM_THREADS=1 $(RUN) tools/train_base.py --config-file configs/toy/base.yaml --output output/toy-base --licence Apache-2.0

# The backbone that ships in seggen_d2/modeling/toy_backbone, from the pictures that the base has seen.
toy-backbone: $(READY)
	$(RUN) datasets/prepare_toy.py --output output/toy-backbone-data --train 1 --test 1 --unlabelled 16000
	OMP_NUM_THREADS=1 $(RUN) tools/train_backbone.py --config-file configs/toy/backbone.yaml --output output/toy-backbone

benchmark: $(READY)
	OMP_NUM_THREADS=1 $(RUN) tools/benchmark.py decode bank index swap sample --json output/benchmark.json

clean:
	rm -rf output/quickstart build dist *.egg-info
