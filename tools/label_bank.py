#!/usr/bin/env python
"""Label a bank of images that have no labels, by a segmenter that was trained on real ones: the annotator-based baseline.

    python tools/synthesize.py --strategy unlabelled --config-file configs/toy/synthesis.yaml --output BANK
    python tools/label_bank.py --bank BANK --segmenter RUN --output LABELLED

The labelled bank, of the strategy annotator, trains like any other. Its images are copied byte for byte. Finished shards are
the resume state: after any stop the same command goes on. Any number of processes may share one bank, as a job array by
--worker-index and --worker-count.
"""

import argparse

from seggen_d2.foundation.cli import run_command


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--bank", required=True, help="folder or URL of a bank made with --strategy unlabelled")
    words.add_argument("--segmenter", required=True, help="a finished run's folder, or a transformers folder with a Mask2Former of the same categories")
    words.add_argument("--output", required=True, help="folder or URL of the labelled bank")
    words.add_argument("--confidence", type=float, help="0 to 1: pixels (semantic), segments (panoptic), objects (instance) of less stay unlabelled; "
                       "default 0, for instance banks 0.5, as a segmenter scores a hundred objects an image")
    words.add_argument("--batch", type=int, default=16, help="images that the segmenter sees at once (default 16)")
    words.add_argument("--threads", type=int, default=1, help="CPU threads (default 1); as --batch, part of what the bank is")
    words.add_argument("--device", default="auto", help="auto, cpu, cuda:0, ... (default auto: CUDA where there is one)")
    words.add_argument("--worker-index", type=int, default=0, help="this process's number in a job array, from 0")
    words.add_argument("--worker-count", type=int, default=1, help="processes in the job array")
    return words


def main() -> None:
    args = parser().parse_args()
    from seggen_d2.scoring.annotation import AnnotationOptions, label_bank

    options = AnnotationOptions(args.confidence, args.batch, args.threads, args.device)
    print(label_bank(args.bank, args.segmenter, args.output, options, array=(args.worker_index, args.worker_count)))


if __name__ == "__main__":
    run_command(main)
