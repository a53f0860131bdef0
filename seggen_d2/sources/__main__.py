"""Look at a dataset before training on it: ``python -m seggen_d2.sources check PATH``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from seggen_d2.foundation.cli import run_command

CHECK = """Tell what is wrong with a dataset, file by file: ids out of range, sizes that differ, RGB masks where ids were
meant, 0 against 255 for unlabelled, photos without masks, cut files, JPEG masks, photos turned by EXIF, the same photo
twice, boxes that do not fit. Exit code 0: nothing worse than warnings; 1: errors; 2: PATH cannot be opened."""

EXAMPLES = """
examples:
  python -m seggen_d2.sources check mine/train.yaml --against mine/val.yaml
  python -m seggen_d2.sources check my_folder --workers 8 --json problems.json
  python -m seggen_d2.sources check instances_train.json --images photos
  python -m seggen_d2.sources check mine/train.yaml --vae stabilityai/stable-diffusion-xl-base-1.0
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="python -m seggen_d2.sources", description=__doc__)
    verbs = words.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("check", description=CHECK, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                             help="tell what is wrong with a dataset")
    check.add_argument("path", metavar="PATH", help="a dataset's YAML file, a folder of photos and masks, or a COCO JSON file")
    check.add_argument("--images", default="", metavar="DIR", help="for a folder or a JSON: where the photos are, if under no usual name")
    check.add_argument("--masks", default="", metavar="DIR", help="likewise, the masks")
    check.add_argument("--against", action="append", default=[], metavar="FILE", help="a validation set: none of its photos may be in PATH; repeat it for more")
    check.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    check.add_argument("--all", action="store_true", help="list every file, not the first five of each problem")
    check.add_argument("--json", metavar="FILE", help="write everything that was found to FILE")
    check.add_argument("--vae", metavar="MODEL", help="also send the masks through colours, the VAE of this SDXL-like model (a folder, a hub name, or toy) "
                       "and back: which classes and how small objects survive. Needs no training; words after -- go to it")
    return words


def main() -> None:
    words, rest = _split(sys.argv[1:])
    given = parser().parse_args(words)
    from seggen_d2.foundation.files import write_json

    from .checking.dataset import check_dataset
    from .checking.report import report_text

    report = check_dataset(given.path, against=given.against, images=given.images, masks=given.masks, workers=given.workers)
    print(report_text(report, 0 if given.all else 5))
    if given.json:
        write_json(given.json, report.to_json())
    if report.failed:
        if given.vae:
            print("the round trip through the VAE waits until the errors are mended")
        sys.exit(1)
    if given.vae:
        sys.exit(survive(given.path, given.vae, rest))


def survive(path: str, model: str, rest: list[str]) -> int:
    """Run the round trip through the VAE as a process, since this room loads no networks; its exit code."""
    command = [sys.executable, "-m", "seggen_d2.generators", "survival", "--dataset", path, "--vae", model, *rest]
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before ``--``, and after it."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


if __name__ == "__main__":
    run_command(main)
