#!/usr/bin/env python
"""Run a recipe: the whole method from labels to a report, each stage a process of its own.

The quickstart draws toy scenes, captions them, trains Text2Mask and Mask2Img, makes both banks, trains Mask2Former
with and without them, and writes report.html. Finished stages are never run twice: after any stop, the same command
goes on. `--recipe camvid` does the same on real street photos.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.options import parse_overrides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="quickstart", help="quickstart, camvid, or a YAML file (default: quickstart)")
    parser.add_argument("--output", type=Path, help="folder of all artefacts (default: output/RECIPE)")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores to use (default: 2)")
    parser.add_argument("--dry-run", action="store_true", help="print the stages and their commands; run nothing")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="the recipe's variables, e.g. imgsyn 16")
    args = parser.parse_args()
    from seggen_d2.recipes.filling import command_line
    from seggen_d2.recipes.recipe import load_recipe
    from seggen_d2.recipes.runner import Runner, usable_cores

    output = args.output or Path("output") / Path(args.recipe).stem
    stages = load_recipe(args.recipe, output, parse_overrides(args.opts))
    if args.dry_run:
        print("\n".join(f"{stage.name}: {command_line(stage.command)}" for stage in stages))
        return
    Runner(stages, output, usable_cores(args.cores)).run()
    print(f"done: open {output / 'report.html'}")


if __name__ == "__main__":
    run_command(main)
