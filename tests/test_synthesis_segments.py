"""Banks of panoptic and instance samples, from captions to records, by generators of two steps."""

from dataclasses import replace

import numpy as np
import pytest
from coco_samples import write_coco

from seggen_d2.bank import Bank
from seggen_d2.captions import LabelListCaptioner, caption_dataset
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import SamplerOptions
from seggen_d2.generators.training.fine_tuning import train_generator
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.segmentation.rle import decode_mask
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.synthesis.local import synthesize
from seggen_d2.synthesis.options import SynthesisOptions
from seggen_d2.synthesis.quality import QualityOptions

ANYTHING = QualityOptions(max_unsure=1, min_labelled=0, min_categories=0, min_named=0, max_dropped=1, max_lost=1)


@pytest.fixture(scope="module", params=["panoptic", "instance"])
def options(request, tmp_path_factory, tiny_base, make_generator_options) -> SynthesisOptions:
    """Generators of a task, trained on three images."""
    folder = tmp_path_factory.mktemp(request.param)
    dataset, captions = str(write_coco(folder)[request.param]), str(folder / "captions.parquet")
    source = load_dataset(dataset)
    caption_dataset(source, LabelListCaptioner(source.categories), captions)
    plain = make_generator_options(folder, tiny_base)
    for kind in ("text2mask", "mask2img"):
        geometry = Geometry(pixels=48 * 48, multiple=16)
        train_generator(kind, replace(plain, dataset=dataset, captions=captions, geometry=geometry), folder / kind)
    models = {kind: str(folder / kind / "model") for kind in ("text2mask", "mask2img")}
    return SynthesisOptions(dataset=dataset, captions=captions, **models, replicas=1, batch=2, shard_size=2, quality=ANYTHING,
                            masks=SamplerOptions(1), images=SamplerOptions(1))


def test_images_for_human_masks_keep_all_their_parts(options, tmp_path):
    synthesize("imgsyn", options, tmp_path / "bank")
    bank, source = Bank(tmp_path / "bank"), load_dataset(options.dataset)
    records = {str(r["source_id"]): r for r in source.records()}
    view, = Geometry(pixels=48 * 48, multiple=16).views(20, 28)
    assert len(bank) == 3
    for number in range(3):
        made, record = view.mask(read_mask(records[bank.record(number)["source_id"]], source)), bank.record(number)
        assert (record["height"], record["width"]) == view.out == made.shape
        if source.task == "panoptic":
            ids = read_panoptic_png(bank.read(bank.key(number), "png"))
            assert np.array_equal(ids, made.ids) and any(s["iscrowd"] for s in record["segments_info"])
        else:
            masks = [decode_mask(part["rle"], "") for part in record["annotations"]]
            assert sorted(m.sum() for m in masks) == sorted(o.mask.sum() for o in made.objects)
            assert sum(part["iscrowd"] for part in record["annotations"]) == 1


def test_sampled_masks_become_samples_or_reasons(options, tmp_path):
    synthesize("masksyn", options, tmp_path / "bank")
    bank = Bank(tmp_path / "bank")
    assert len(bank) + len(bank.rejections()) == 3
    for number in range(len(bank)):
        record, ids = bank.record(number), read_panoptic_png(bank.read(bank.key(number), "png"))
        parts = record.get("segments_info") or record.get("annotations") or []
        assert ids.shape == (record["height"], record["width"]) and not any(part["iscrowd"] for part in parts)
        assert set(np.unique(ids)) - {0} == {part["id"] for part in parts}
