"""Images that the base alone paints from captions: a bank without labels, which nothing is trained on."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coco_samples import write_coco
from PIL import Image
from tiny_synthesis import contents, tiny_options

from seggen_d2.bank import Bank, ExportOptions, export_bank
from seggen_d2.bank.inspect import inspect_bank
from seggen_d2.captions import LabelListCaptioner, caption_dataset
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.generators.bases import load_base
from seggen_d2.generators.geometry import Geometry
from seggen_d2.generators.sampling.sampler import SampleBatch, Sampler, SamplerOptions
from seggen_d2.mixing import SwapMapper
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.sources import load_dataset
from seggen_d2.synthesis.estimate import estimate
from seggen_d2.synthesis.job import Job
from seggen_d2.synthesis.local import synthesize
from seggen_d2.synthesis.options import SynthesisOptions, options_for


@pytest.fixture(scope="module")
def options(generators, toy_folder, tiny_base) -> SynthesisOptions:
    """Without any generator."""
    return replace(tiny_options(generators, toy_folder), mask2img="", text2mask="", base=str(tiny_base), geometry=Geometry(height=32, width=32))


@pytest.fixture(scope="module")
def bank(options, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled") / "bank"
    synthesize("unlabelled", options, folder)
    return folder


def test_every_pixel_is_ignored_and_everything_else_is_as_in_any_bank(options, bank):
    opened, plan = Bank(bank), Job("unlabelled", options).plan
    assert len(opened) == 12 and not opened.verify() and not opened.rejections()
    for number, record in enumerate(map(opened.record, range(12))):
        spec = plan.sample(number)
        assert [record[name] for name in ("image_id", "source_id", "strategy", "seed", "caption")] == \
            [f"unlabelled-{number:09d}", spec.source_id, "unlabelled", spec.seed, spec.caption]
        assert (read_label_map(opened.read(spec.key, "png")) == opened.info.categories.ignore_id).all()
    assert not opened.column("histogram").any()


def test_images_are_those_of_the_bare_base(options, bank, tiny_base):
    specs = next(Job("unlabelled", options).plan.batches(0))
    batch = SampleBatch([spec.caption for spec in specs], [derive_seed(spec.seed, "image") for spec in specs],
                        [spec.view.time_ids() for spec in specs], 32, 32)
    for spec, image in zip(specs, Sampler(load_base(str(tiny_base)), options.images).paint(batch), strict=True):
        jpeg = io.BytesIO()
        Image.fromarray(image).save(jpeg, "JPEG", quality=95, subsampling=0)
        assert jpeg.getvalue() == Bank(bank).read(spec.key, "jpg")


def test_a_shard_cut_short_is_made_again_with_equal_bytes(options, bank, tmp_path):
    synthesize("unlabelled", options, tmp_path / "bank")
    tar = tmp_path / "bank/shards/unlabelled-00002.tar"
    tar.write_bytes(tar.read_bytes()[:-600])
    synthesize("unlabelled", options, tmp_path / "bank")
    assert contents(tmp_path / "bank") == contents(bank)


def test_the_bank_names_its_base_and_no_generator(options, bank):
    info = Bank(bank).info
    assert [model["kind"] for model in info.generators][0] == "base" and info.generators[0]["fingerprint"]
    assert info.job["strategy"] == "unlabelled" and "masks" not in info.job and "quality" not in info.job
    assert Job("unlabelled", replace(options, mask2img="anything", text2mask="too")).info() == Job("unlabelled", options).info()
    with pytest.raises(SegGenError, match="another generator"):
        synthesize("unlabelled", replace(options, base="toy"), bank)


def test_what_is_missing_is_told(options):
    for strategy, words in (("unlabelled", "need a base"), ("imgsyn", "needs a Mask2Img"), ("masksyn", "needs a Mask2Img")):
        with pytest.raises(SegGenError, match=words):
            Job(strategy, replace(options, base=""))
    with pytest.raises(SegGenError, match="strength is for ImgSyn"):
        Job("unlabelled", replace(options, images=SamplerOptions(10, strength=0.5)))
    values = {"dataset": "a", "captions": "b", "replicas": {"masksyn": 1, "unlabelled": 3}}
    assert options_for("unlabelled", values, "a file").replicas == 3


def test_the_dry_run_and_the_page_and_the_export_cope(options, bank, tmp_path):
    assert estimate("unlabelled", options, batches=1).rejected == 0
    page = inspect_bank(Bank(bank), tmp_path / "page.html", dataset=options.dataset)
    assert "unlabelled-000000000" in page.read_text()
    export_bank(Bank(bank), tmp_path / "folders", ExportOptions("ade20k"))
    assert len(list((tmp_path / "folders").rglob("*.jpg"))) == 12


def test_nothing_is_trained_on_it(bank):
    with pytest.raises(SegGenError, match=r"without labels(.|\n)*label_bank.py"):
        SwapMapper(lambda record: record, Bank(bank), 0.5)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_there_is_no_segment_and_no_object(task, options, tmp_path):
    dataset, captions = str(write_coco(tmp_path)[task]), tmp_path / "captions.parquet"
    source = load_dataset(dataset)
    caption_dataset(source, LabelListCaptioner(source.categories), captions)
    own = replace(options, dataset=dataset, captions=str(captions), geometry=Geometry(pixels=48 * 48, multiple=16), replicas=1, long_captions="cut")
    synthesize("unlabelled", own, tmp_path / "bank")
    opened = Bank(tmp_path / "bank")
    assert len(opened) == 3 and not opened.verify()
    for number in range(3):
        record, mask = opened.record(number), read_panoptic_png(opened.read(opened.key(number), "png"))
        assert not record.get("segments_info") and not record.get("annotations") and not np.any(mask)
    inspect_bank(opened, tmp_path / "page.html")
    export_bank(opened, tmp_path / "coco", ExportOptions("coco"))
