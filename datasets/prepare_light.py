#!/usr/bin/env python
"""The photos of a labelled dataset in another light, with its own labels: to test on what a segmenter has not seen.

A synthetic change of colours, and no substitute for photos taken at night or in fog: gains, dimmed highlights and a haze
that grows towards a horizon at 45% of the height, in linear light, and a sensor's noise. It knows nothing of the scene: no
lamps, no shadows, no depth. Made for photos of streets. OUTPUT gets images/ and dataset.yaml (NAME_LIGHT); masks or JSON
stay where they are. The same command again does nothing twice, and goes on after a stop.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from seggen_d2.foundation.cli import run_command

EXAMPLE = """
example:
  python datasets/prepare_light.py --dataset datasets/camvid_val.yaml --light dusk --output datasets/camvid_dusk
"""


def main() -> None:
    from seggen_d2.sources.preparing.relight import LIGHTS

    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="a dataset's YAML file: semantic, panoptic or instance")
    parser.add_argument("--light", required=True, choices=list(LIGHTS), help="of the new photos")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="a folder of its own")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    args = parser.parse_args()
    from seggen_d2.sources.preparing.light import prepare_light

    print(prepare_light(args.dataset, args.light, args.output, workers=args.workers))


if __name__ == "__main__":
    run_command(main)
