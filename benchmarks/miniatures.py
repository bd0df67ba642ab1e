"""Benchmark sets in small, each in its published layout, to try ``task=benchmark`` on.

    python -m benchmarks.miniatures OUTPUT_DIR

Three made pictures of 96x112 pixels a set, with planted artifacts, a part of which is labelled:
figures on them say that a benchmark's files are read and its measures are right, and nothing about
detectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.datamodules.benchmark_layouts import write_all


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.miniatures", description=__doc__)
    parser.add_argument("output_dir", type=Path)
    write_all(parser.parse_args().output_dir)


if __name__ == "__main__":
    main()
