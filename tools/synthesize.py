#!/usr/bin/env python
"""Make a bank: masksyn (new mask and new image from a caption) or imgsyn (new images for human masks).

A bank is a fixed plan; finished shards are the resume state. Any number of processes can work on one bank: local ones
by --workers, or one a task of a job array by --worker-index and --worker-count. After any stop, kill -9 included, the
same command goes on, and the bank's bytes are those of an uninterrupted run.
"""

import argparse
from pathlib import Path

from seggen_d2.foundation.cli import run_command
from seggen_d2.foundation.errors import check_range
from seggen_d2.foundation.options import build, load_yaml, merge, parse_overrides, save_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", required=True, choices=["masksyn", "imgsyn"])
    parser.add_argument("--config-file", required=True, help="YAML such as configs/toy/synthesis.yaml; keys: SynthesisOptions")
    parser.add_argument("--output", required=True, type=Path, help="the bank's folder")
    parser.add_argument("--workers", type=int, default=1, help="local processes")
    parser.add_argument("--worker-index", type=int, help="this process's number in a job array, from 0; with --worker-count")
    parser.add_argument("--worker-count", type=int, help="processes in the job array")
    parser.add_argument("--dry-run", action="store_true", help="time a few real batches; print samples, disk and time; write nothing")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides, e.g. replicas 4 images.steps 12")
    args = parser.parse_args()
    if (args.worker_index is None) != (args.worker_count is None):
        parser.error("--worker-index and --worker-count go together")
    from seggen_d2.synthesis import job, local

    options = build(job.SynthesisOptions, merge(load_yaml(args.config_file), parse_overrides(args.opts)), args.config_file)
    check_range("--workers", args.workers, 1, 1024)
    check_range("--worker-count", args.worker_count or 1, 1, 10**6)
    if args.dry_run:
        print(local.estimate(args.strategy, options).text(args.worker_count or args.workers, local.free_space(args.output)))
        return
    if args.worker_index is not None:
        job.run_shards(job.Job(args.strategy, options), args.output, index=args.worker_index, count=args.worker_count)
        if args.worker_index == 0:
            save_options(args.output, options)
        return
    local.synthesize(args.strategy, options, args.output, workers=args.workers)
    save_options(args.output, options)
    print(local.summary(args.output))


if __name__ == "__main__":
    run_command(main)
