"""A segmenter over labelled images: each with its mask and what the segmenter sees there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from seggen_d2.mapping import DatasetMapper, test_augmentations
from seggen_d2.modeling import Mask2Former, Outputs, predict
from seggen_d2.segmentation.masks import Mask
from seggen_d2.sources.dataset_file import Source
from seggen_d2.sources.masks import read_mask

from .noise import Seen
from .samples import batches


class Looking:
    """A segmenter at its test size.

    Args:
        model: its ``outputs`` become semantic scores, whatever the task.
        batch: images that it sees at once, all of one size.
    """

    def __init__(self, model: Mask2Former, batch: int):
        self.model, self.batch, self.mapper = model.eval(), batch, DatasetMapper(test_augmentations(*model.test_size))

    def __call__(self, source: Source, records: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Mask, Seen]]:
        """Records of one source, size by size."""
        self.model.outputs = Outputs(semantic=True, is_thing=tuple(item.isthing for item in source.categories.items))
        for batch in batches(records, self.batch):
            for record, output in predict(self.model, batch, self.mapper, batch_size=len(batch)):
                yield record, read_mask(record, source), Seen(output["sem_seg"], source.task != "instance")
