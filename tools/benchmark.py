#!/usr/bin/env python
"""Measure what the package promises, each figure against its reference, and print the rows.

Ways that are compared take turns, and figures are medians. Pin to one core, with one thread, for figures that mean
something: OMP_NUM_THREADS=1 taskset -c 0 python tools/benchmark.py decode
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util

from seggen_d2.foundation.cli import run_command

BENCHMARKS = {  # name: (module:function, what it measures)
    "decode": ("seggen_d2.segmentation.bench:decode_rows", "decoding a 768x768 colour map of 150 categories"),
    "borders": ("seggen_d2.sources.bench_borders:border_rows", "wrong pixels of blurred colour maps: nearest colours, the border-aware decoder, an oracle"),
    "bank": ("seggen_d2.bank.bench:bank_read_rows", "10,000 random reads of a bank's samples against plain files"),
    "index": ("seggen_d2.bank.bench:index_rows", "opening a bank of 1.2 million samples and finding samples in it, also by name in Detectron2"),
    "swap": ("seggen_d2.mixing.bench:swap_rows", "the mapper with the swap against the bare one"),
    "mapper": ("seggen_d2.plugin.data.bench_mapper:mapper_rows", "the mapper against Mask2Former's own; needs Detectron2 and both"),
    "sample": ("seggen_d2.generators.bench:sample_rows", "images a second against diffusers' own pipelines, shortcut by shortcut"),
    "edges": ("seggen_d2.segmentation.bench_edges:edge_rows", "PQ of segments through edge colour and back, 1 to 4 pixels wide"),
    "cache": ("seggen_d2.generators.bench_cache:cache_rows", "memory of training examples streamed from disk, 100 to 10,000 images"),
    "caption": ("seggen_d2.captions.bench:caption_rows", "BLIP-2 captions in batches against one at a time"),
    "ray": ("seggen_d2.synthesis.bench:worker_rows", "a synthesis by two workers, plain and Ray's, against one"),
    "metrics": ("seggen_d2.evaluation.bench:metric_rows", "scoring predictions against pycocotools and, where installed, panopticapi and Detectron2"),
    "export": ("seggen_d2.bank.bench_export:export_rows", "exporting a bank against plain copying of its bytes"),
}
WITH_DETECTRON2 = {  # in their place where Detectron2 is installed
    "index": "seggen_d2.plugin.data.bench_registration:rows",
    "metrics": "seggen_d2.plugin.training.bench_metrics:rows",
}


def parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<8}{what}" for name, (_, what) in BENCHMARKS.items())
    form = argparse.RawDescriptionHelpFormatter
    words = argparse.ArgumentParser(description=__doc__, epilog=f"names:\n{listed}", formatter_class=form)
    words.add_argument("names", nargs="+", metavar="NAME", choices=BENCHMARKS, help="one or more of the names below")
    words.add_argument("--json", metavar="FILE", help='also write {"rows": [{name, value, unit, ratio, reference}]}')
    return words


def measure(name: str) -> list[dict]:
    there = name in WITH_DETECTRON2 and importlib.util.find_spec("detectron2")
    module, function = (WITH_DETECTRON2[name] if there else BENCHMARKS[name][0]).split(":")
    return getattr(importlib.import_module(module), function)()


def main() -> None:
    arguments = parser().parse_args()
    from seggen_d2.foundation.files import write_json
    from seggen_d2.foundation.measure import rows_table

    rows = [row for name in arguments.names for row in measure(name)]
    print(rows_table(rows))
    if arguments.json:
        write_json(arguments.json, {"rows": rows})


if __name__ == "__main__":
    run_command(main)
