"""Mask2Former's COCO names without Mask2Former: the same metadata and records as the package's own registration."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys, types
from importlib import util
from detectron2.data import DatasetCatalog, MetadataCatalog
import seggen_d2.plugin.data.coco_semantic as ours

name = "coco_2017_val_panoptic_with_sem_seg"
if sys.argv[1] == "ours":
    ours.find_spec = lambda package: None
else:
    sys.modules.setdefault("MultiScaleDeformableAttention", types.ModuleType("MultiScaleDeformableAttention"))
ours.register_coco_semantic([name, "coco_2017_val"])
ours.register_coco_semantic([name])
facts = MetadataCatalog.get(name).as_dict()
print(json.dumps({key: {str(k): v for k, v in value.items()} if isinstance(value, dict) else value
                  for key, value in facts.items()}))
"""


def facts(who):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, who]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.skipif(find_spec("mask2former") is None, reason="Mask2Former is not installed")
def test_metadata_is_upstreams():
    assert facts("ours") == facts("theirs")


def test_records_name_the_semantic_label_beside_the_panoptic_one():
    from detectron2.data import DatasetCatalog

    from seggen_d2.plugin.data.coco_semantic import records

    record = {"file_name": "a.jpg", "pan_seg_file_name": "pan/000000000139.png"}
    DatasetCatalog.register("coco_semantic_one", lambda: [record])
    try:
        assert records("coco_semantic_one", Path("sem")) == [{**record, "sem_seg_file_name": "sem/000000000139.png"}]
    finally:
        DatasetCatalog.remove("coco_semantic_one")
