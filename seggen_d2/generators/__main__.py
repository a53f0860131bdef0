"""Look at what generators will do before training one: ``python -m seggen_d2.generators survival``."""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

SURVIVAL = """Send a dataset's masks through colours, a VAE and back, at the size that generators work at, and tell what
survives: IoU a class (PQ for segments), the smallest object, the classes that will be lost and which to merge them with.
It needs no training; a GPU is used where there is one. The bar shows how long the rest takes; --limit takes fewer images."""

EXAMPLES = """
examples:
  python -m seggen_d2.generators survival --dataset mine/train.yaml --vae stabilityai/stable-diffusion-xl-base-1.0 --limit 100
  python -m seggen_d2.generators survival --dataset coco.yaml --vae models/sdxl --edge-width 1 --edges touching --json survival.json
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="python -m seggen_d2.generators", description=__doc__)
    verbs = words.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("survival", description=SURVIVAL, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                            help="tell what of a dataset's masks survives colours and a VAE")
    verb.add_argument("--dataset", required=True, metavar="YAML", help="the dataset's YAML file")
    verb.add_argument("--vae", required=True, metavar="MODEL", help="toy, a folder of a base or of a VAE, a .safetensors base, or a hub name")
    verb.add_argument("--limit", type=int, default=100, metavar="N", help="images, evenly spread over the dataset; 0 for all (default: 100)")
    verb.add_argument("--side", type=int, default=0, metavar="PX", help="work at about PX x PX pixels (default: the base's own, at most 768)")
    verb.add_argument("--max-shrink", type=float, default=0.0, help="cut photos that would shrink more than this into views (default: 0, do not)")
    verb.add_argument("--edge-width", type=int, default=None, metavar="PX", help="of segments' outlines, 1 to 4 (default: as in training)")
    verb.add_argument("--edges", default="all", help="all | touching: which outlines are drawn (default: all)")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda:0, ... (default: auto)")
    verb.add_argument("--json", metavar="FILE", help="write everything that was found to FILE")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.foundation.files import write_json

    from .judging.survival import dataset_survival
    from .judging.survival_report import survival_text

    found = dataset_survival(given.dataset, given.vae, limit=given.limit, side=given.side, max_shrink=given.max_shrink,
                             edge_width=given.edge_width, edges=given.edges, device=given.device)
    print(survival_text(found))
    if given.json:
        write_json(given.json, found.to_json())


if __name__ == "__main__":
    run_command(main)
