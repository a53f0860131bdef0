#!/usr/bin/env python
"""Make a bank: masksyn (new mask and new image from a caption), imgsyn (new images for human masks), or unlabelled (images
painted from captions by the base alone, for tools/label_bank.py: the annotator-based baseline).

A bank is a fixed plan; finished shards are the resume state. Any number of processes can work on one bank: local ones
by --workers, one a task of a job array by --worker-index and --worker-count, or Ray actors by --executor ray. After any
stop, kill -9 included, the same command goes on, and the bank's bytes are those of an uninterrupted run. Shards that
differ from their checksums are named and made again.

A budget is spent on all real images alike, replicas N each; or exactly, samples N in all; and, with weights FILE as
tools/weigh_sources.py writes it, first where a segmenter is weakest (docs/cheaper-banks.md).
"""

import argparse

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--strategy", required=True, choices=["masksyn", "imgsyn", "unlabelled"])
    words.add_argument("--config-file", required=True, help="YAML such as configs/toy/synthesis.yaml; keys: SynthesisOptions")
    words.add_argument("--output", required=True, help="the bank's folder, or a URL such as s3://bucket/banks/imgsyn")
    words.add_argument("--executor", choices=["local", "ray"], default="local", help="processes of this machine, or Ray actors")
    words.add_argument("--address", default="", help="of a Ray cluster that this machine is a node of: HOST:PORT or auto; default: a Ray of its own")
    words.add_argument("--workers", type=int, default=1, help="processes or actors; a GPU each where there are GPUs")
    words.add_argument("--worker-index", type=int, help="this process's number in a job array, from 0; with --worker-count")
    words.add_argument("--worker-count", type=int, help="processes in the job array")
    words.add_argument("--strength", type=float, help="imgsyn: start from the real photo, noised by this share of the steps; short for images.strength")
    words.add_argument("--no-verify", action="store_true", help="trust finished shards by their length, without reading them")
    words.add_argument("--dry-run", action="store_true", help="time a few real batches; print samples, disk, time and memory; write nothing")
    words.add_argument("--estimate", action="store_true", help="of a bank that is whole: time some batches, and keep what a sample costs as estimate.json")
    words.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides, e.g. replicas 4 images.steps 12; samples 512 weights FILE")
    return words


def main() -> None:
    words = parser()
    args = words.parse_args()
    if (args.worker_index is None) != (args.worker_count is None):
        words.error("--worker-index and --worker-count go together")
    from seggen_d2.synthesis.command import synthesize

    opts = args.opts + ([] if args.strength is None else ["images.strength", str(args.strength)])
    print(synthesize(args.strategy, args.config_file, opts, args.output, executor=args.executor, address=args.address,
                     workers=args.workers, array=(args.worker_index, args.worker_count), verify=not args.no_verify, dry_run=args.dry_run,
                     estimated=args.estimate))


if __name__ == "__main__":
    run_command(main)
