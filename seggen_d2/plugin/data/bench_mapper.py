"""This package's mapper against Mask2Former's own, on real images: rows for ``tools/benchmark.py mapper``."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.measure import interleaved, median_ratio, row
from seggen_d2.segmentation import label_map_png
from seggen_d2.segmentation.outlines import polygons_from_mask
from seggen_d2.segmentation.rle import decode_mask
from seggen_d2.sources import CocoInstanceSource, CocoPanopticSource

from ..config import load_config
from ..hosts import host_mapper
from .mapper import build_mapper

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT.parent / "shared" / "data"  # real ADE20K and COCO samples, beside the project
CASES = (  # what, config, samples, bar
    ("semantic, ADE20K, crop 512", "ade20k/semantic-segmentation", "semantic", 2.5),
    ("panoptic, COCO, large-scale jitter at 1024", "coco/panoptic-segmentation", "panoptic", 3.0),
    ("instance, COCO, large-scale jitter at 1024", "coco/instance-segmentation", "instance", None),
)


def mapper_rows(turns: int = 16, batch: int = 12) -> list[dict[str, Any]]:
    """Milliseconds of processor time a sample, against Mask2Former's mapper of the same config, on the same images.

    Args:
        turns: both map a batch each turn, with draws of their own; figures are medians over turns.
        batch: samples a turn.

    Raises:
        SegGenError: Mask2Former or the samples are not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [_row(*case, Path(folder), turns, batch) for case in CASES]


def _row(name: str, config: str, task: str, bar: float | None, folder: Path, turns: int, batch: int) -> dict[str, Any]:
    cfg, _ = load_config(ROOT / "configs" / config / "mask2former_R50_real.yaml")
    stock, ours, records = stock_mapper(cfg), build_mapper(cfg), sample_records(task, folder)

    def turn_of(mapper: Callable[[dict[str, Any]], Any]) -> Callable[[int], None]:
        def way(turn: int) -> None:
            for number in range(batch):
                mapper(records[number % len(records)])

        way(0)  # warm
        return way

    np.random.seed(0)
    mine, theirs = interleaved([turn_of(ours), turn_of(stock)], turns, time.process_time)
    ratio = median_ratio(mine, theirs)
    value, reference = (1e3 * statistics.median(seconds) / batch for seconds in (mine, theirs))
    words = f"Mask2Former's mapper: {reference:.2f} ms; {1 / ratio:.2f} times as fast"
    return row(f"mapper: {name}", value, "ms", ratio, words + (f"; bar {bar:g} times" if bar else ""))


def stock_mapper(cfg: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Mask2Former's mapper for a config. Mappers call no compiled op, so an unbuilt one does no harm here.

    Raises:
        SegGenError: Mask2Former is not installed.
    """
    with _unbuilt_op():
        return host_mapper(cfg)


@contextmanager
def _unbuilt_op() -> Iterator[None]:
    """Lets Mask2Former be imported where its compiled op is not built."""
    name = "MultiScaleDeformableAttention"
    if name in sys.modules or find_spec(name):
        yield
        return
    sys.modules[name] = types.ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


def sample_records(task: str, folder: Path) -> list[dict[str, Any]]:
    """Detectron2 records of the real samples.

    Args:
        task: "semantic" (ADE20K), "panoptic" or "instance" (COCO, outlines as polygons).
        folder: for masks in the form that Detectron2 has them in.

    Raises:
        SegGenError: the samples are not there.
    """
    needed = SAMPLES / ("ade20k_sample" if task == "semantic" else "coco_sample")
    if not needed.is_dir():
        raise SegGenError(
            "the real images for this benchmark are not there",
            expected=f"{needed.name}/ under {SAMPLES.parent.name}/{SAMPLES.name}, beside the project's folder",
            remedy="put samples of ADE20K (sceneparsing's sampleData) and COCO (panopticapi's sample_data) there",
        )
    return {"semantic": _ade20k, "panoptic": _coco_panoptic, "instance": _coco_instance}[task](needed, folder)


def _ade20k(samples: Path, folder: Path) -> list[dict[str, Any]]:
    records = []
    for mask in sorted((samples / "annotations").glob("*.png")):
        shifted = folder / mask.name  # 0 is unlabelled there, 255 for Detectron2
        shifted.write_bytes(label_map_png(np.asarray(Image.open(mask)) - np.uint8(1)))
        image = samples / "images" / f"{mask.stem}.jpg"
        records.append({"file_name": str(image), "sem_seg_file_name": str(shifted)})
    return records


def _coco_panoptic(samples: Path, folder: Path) -> list[dict[str, Any]]:
    return CocoPanopticSource(
        "samples", samples / "input_images", samples / "panoptic_examples.json", samples / "panoptic_examples"
    ).records()


def _coco_instance(samples: Path, folder: Path) -> list[dict[str, Any]]:
    """Things alone, as in COCO's instance data; the samples hold run-length masks, which become outlines here."""
    records = CocoInstanceSource(
        "samples",
        samples / "input_images",
        samples / "panoptic_coco_detection_format.json",
        category_file=str(samples / "panoptic_coco_categories.json"),
    ).records()
    for annotation in (one for record in records for one in record["annotations"]):
        annotation["segmentation"] = polygons_from_mask(decode_mask(annotation["segmentation"], "a sample"))
    return records
