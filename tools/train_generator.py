#!/usr/bin/env python
"""Train a generator: text2mask (a caption to a colour map) or mask2img (a colour map to an image).

Text2Mask fine-tunes the base's UNet, or adapters beside it (lora.rank); Mask2Img trains a ControlNet beside the frozen
UNet. The result is a plain diffusers folder, OUTPUT/model. A stopped run goes on with the same command.

On several GPUs: accelerate launch --multi_gpu tools/train_generator.py --kind ... (a batch is each GPU's).
Start from a published generator, or from one's own: --init DIR; equal category names keep their colours.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.options import build, load_yaml, merge, parse_overrides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", required=True, choices=["text2mask", "mask2img"])
    parser.add_argument("--config-file", required=True, help="YAML such as configs/toy/text2mask.yaml; keys: GeneratorOptions")
    parser.add_argument("--output", required=True, type=Path, help="folder for states, log and model/")
    parser.add_argument("--init", metavar="DIR", help="a generator of the same kind to start from: folder or hub name (the key init)")
    parser.add_argument("--dry-run", action="store_true", help="print parameters, memory, disk and time from three steps really run; nothing is kept")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides, e.g. training.steps 100")
    args = parser.parse_args()
    from seggen_d2.generators.training.dry_run import dry_run, needs_text
    from seggen_d2.generators.training.fine_tuning import GeneratorOptions, train_generator

    words = (["init", args.init] if args.init else []) + args.opts
    options = build(GeneratorOptions, merge(load_yaml(args.config_file), parse_overrides(words)), args.config_file)
    if args.dry_run:
        print(needs_text(dry_run(args.kind, options), args.kind))
    else:
        train_generator(args.kind, options, args.output)


if __name__ == "__main__":
    run_command(main)
