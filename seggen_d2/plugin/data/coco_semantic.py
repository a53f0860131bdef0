"""``coco_2017_{train,val}_panoptic_with_sem_seg``: Mask2Former's names for COCO's panoptic and semantic labels together.

Upstream registers them on import of the mask2former package, which needs its compiled op. Here they follow from
Detectron2's own ``coco_2017_{train,val}_panoptic``, so that a model without that op is evaluated on the same data.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

_END = "_with_sem_seg"
NAMES = {f"coco_2017_{part}_panoptic{_END}": f"panoptic_semseg_{part}2017" for part in ("train", "val")}


def register_coco_semantic(names: Sequence[str]) -> None:
    """Register those of ``names`` that are Mask2Former's and that nothing has registered yet.

    Where the mask2former package can be found its own registration goes first: it would fail on a name taken. Its
    data part registers before its model part asks for the compiled op.
    """
    if any(name in NAMES and name not in DatasetCatalog for name in names) and find_spec("mask2former"):
        with suppress(ImportError):
            import mask2former  # noqa: F401
    for name in names:
        if name in NAMES and name not in DatasetCatalog:
            _register(name)


def _register(name: str) -> None:
    """``sem_seg_root`` lies beside the panoptic labels; only things count as ``thing_classes``, as metrics expect."""
    facts = MetadataCatalog.get(name.removesuffix(_END)).as_dict()
    root = Path(facts["panoptic_root"]).parent / NAMES[name]
    things = facts["thing_dataset_id_to_contiguous_id"]
    for part in ("classes", "colors"):
        facts[f"thing_{part}"] = [facts[f"stuff_{part}"][i] for i in sorted(things.values())]
    facts["stuff_dataset_id_to_contiguous_id"] = {**things, **facts["stuff_dataset_id_to_contiguous_id"]}
    del facts["name"]
    DatasetCatalog.register(name, partial(records, name.removesuffix(_END), root))
    MetadataCatalog.get(name).set(**facts, sem_seg_root=str(root))


def records(panoptic: str, root: Path) -> list[dict[str, Any]]:
    """The records of dataset ``panoptic`` with ``sem_seg_file_name``, of the same name as the panoptic label."""
    return [
        {**record, "sem_seg_file_name": str(root / Path(record["pan_seg_file_name"]).name)}
        for record in DatasetCatalog.get(panoptic)
    ]
