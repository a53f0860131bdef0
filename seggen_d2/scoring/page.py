"""The page of a bank's scores: the figures, the worst aligned samples, and the pairs that look learned by heart. One file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tqdm import tqdm

from seggen_d2.bank import Bank
from seggen_d2.evaluation import charts, worst
from seggen_d2.evaluation.document import document
from seggen_d2.evaluation.of_models import prediction
from seggen_d2.evaluation.pictures import photo
from seggen_d2.foundation.markup import Markup, join, tag
from seggen_d2.modeling import predict
from seggen_d2.segmentation import ColorCodec, default_palette
from seggen_d2.sources import read_image

from .alignment import COUNTINGS, Alignment
from .report import summary_text
from .samples import BankSource, Real, labelled

_TITLES = {"features": "in features", "photos": "at 16 x 16 pixels"}


class _Seen:
    """What a segmenter predicts for a bank's samples, where a page expects saved predictions."""

    def __init__(self, scores: Alignment):
        self.scores = scores

    def has(self, record: Mapping[str, Any]) -> bool:
        return True

    def read(self, record: Mapping[str, Any]) -> Any:
        """The prediction for a record."""
        path = {**record, "file_name": f"bank://{self.scores.bank.name}/{record['image_id']}.jpg"}
        _, output = next(predict(self.scores.model, [path], self.scores.mapper))
        return prediction(self.scores.kinds[0], output)


def page(bank: Bank, real: Real, found: Mapping[str, Any], alignment: Alignment | None) -> str:
    """The HTML document.

    Args:
        found: what ``score_bank`` told.
        alignment: the scores of that kind, where they were made; without them no sample is the worst.
    """
    palette, names = default_palette(len(bank.info.categories)), bank.info.categories.names
    none = tag("p", "Not asked for.", class_="quiet")
    facts = [(f"{found['samples']:,}", "samples scored"), (f"{len(real.records):,}", "real images"), (str(len(names)), "categories")]
    return document(
        "scores",
        title=f"{bank.name}, {bank.info.task}",
        facts=charts.facts(facts),
        figures=tag("pre", summary_text(found), style="white-space: pre-wrap"),
        worst=join(list(_worst(bank, found["alignment"]["worst"], alignment, ColorCodec(palette, bank.info.categories.ignore_id)))) if alignment else none,
        legend=charts.legend(names, palette.colors, palette.ignore_color) if len(names) <= charts.FOLD else join(),
        pairs=join([_pairs(bank, real, kind, found[kind]) for kind in _TITLES if kind in found]) or none,
    )


def _worst(bank: Bank, ranked: list[dict[str, Any]], alignment: Alignment, codec: ColorCodec) -> Iterator[Markup]:
    counting = COUNTINGS[alignment.kinds[0]]
    column = next(iter(counting.columns.values()))
    task = counting.task(BankSource(bank))
    task.saved = _Seen(alignment)
    keys = bank.column("key").tolist()
    for row in tqdm(ranked, desc="pictures", unit="sample", disable=None):
        record = labelled(bank, bank.record(keys.index(row["key"])))
        yield worst.sample(task, row[column], {**record, "file_name": bank.read(row["key"], "jpg")}, codec)


def _pairs(bank: Bank, real: Real, kind: str, found: Mapping[str, Any]) -> Markup:
    files = dict(zip(real.ids, (record["file_name"] for record in real.records), strict=True))
    shown = []
    for pair in found["nearest"]:
        near = found["threshold"] is not None and pair["distance"] < found["threshold"]
        tiles = [photo(read_image(bank.read(pair["key"], "jpg"), pair["key"]), pair["key"]), photo(read_image(files[pair["photo"]]), f"real {pair['photo']}")]
        head = f"distance {pair['distance']:.3f} {_TITLES[kind]}" + (", nearer than real photos are" if near else "")
        shown.append(tag("article", tag("p", head, class_="caption"), tag("div", tiles, class_="tiles large"), class_="sample"))
    return join(shown)
