#!/usr/bin/env python
"""Score saved predictions against a dataset: a table by category and the field's figures, in percent.

semantic   a folder of single-channel PNGs of category ids, IMAGE_ID.png: mIoU, fwIoU, mACC, pACC, Boundary IoU
panoptic   COCO's panoptic JSON and its PNGs (a folder with both, or the JSON): PQ, SQ, RQ of all, things (_th), stuff (_st)
instance   COCO's results JSON with masks (the file, or its folder): AP, AP50, AP75, APs, APm, APl

Images without prediction are listed, and are an error unless --missing says otherwise. docs/evaluation.md tells how
each figure is counted, and what it equals.
"""

from __future__ import annotations

import argparse

from seggen_d2.foundation.cli import run_command

EXAMPLES = """
examples:
  python tools/evaluate.py --predictions out/predictions/toy_test --dataset toy/test/dataset.yaml --page worst.html
  python tools/evaluate.py --predictions out/inference --dataset datasets/coco-panoptic/val.yaml \\
      --semantic out/semantic --instances out/inference/coco_instances_results.json --instance-dataset datasets/coco-instance/val.yaml
  python tools/evaluate.py --predictions out/ade --dataset ade20k_val --classes bus car person --json figures.json
"""


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--predictions", required=True, metavar="PATH", help="folder or JSON file, see above")
    words.add_argument("--dataset", required=True, metavar="NAME|FILE", help="the dataset's YAML file, or the name in one below datasets/")
    words.add_argument("--task", default="", choices=("semantic", "panoptic", "instance"),
                       help="how to score (default: the dataset's task; a panoptic dataset serves for all three)")
    words.add_argument("--classes", nargs="+", default=[], metavar="NAME",
                       help="also the mean over these alone, marked * (the paper's mIoU*); or one file: .txt with a name a line, .yaml, .json")
    words.add_argument("--missing", default="", choices=("error", "skip", "empty"),
                       help="images without prediction: an error, left out of all figures, or predicted as nothing "
                       "(default: error; instance: empty, as COCO's tools take them); they are listed in any case")
    words.add_argument("--semantic", default="", metavar="DIR", help="label maps of the same panoptic model: mIoU_pan")
    words.add_argument("--instances", default="", metavar="FILE", help="results JSON of the same panoptic model: AP_pan^Th")
    words.add_argument("--instance-dataset", default="", metavar="NAME|FILE", help="its truth: COCO's instances (default: things of the panoptic truth)")
    words.add_argument("--json", metavar="OUT", help="also write everything to this file")
    words.add_argument("--page", metavar="OUT", help="also write a page with the worst images as pictures to this HTML file")
    words.add_argument("--worst", type=int, default=12, metavar="N", help="how many images the page shows (default: %(default)s)")
    return words


def main() -> None:
    given = parser().parse_args()
    from seggen_d2.evaluation.predictions import evaluate_predictions, evaluation_text
    from seggen_d2.evaluation.worst import write_page
    from seggen_d2.foundation.files import write_json
    from seggen_d2.sources.category_list import read_categories

    classes = read_categories(given.classes, ignore_id=65535).names if given.classes else ()
    found = evaluate_predictions(given.predictions, given.dataset, task=given.task, classes=classes, missing=given.missing, semantic=given.semantic,
                                 instances=given.instances, instance_dataset=given.instance_dataset, worst=given.worst if given.page else 0)
    print(evaluation_text(found))
    if given.json:
        write_json(given.json, found.to_json())
    if given.page:
        print(f"page: {write_page(found, given.page)}")


if __name__ == "__main__":
    run_command(main)
