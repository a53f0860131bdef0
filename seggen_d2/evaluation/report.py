"""The report: ``results.json`` with every figure, and ``report.html``, one file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import seggen_d2
from seggen_d2.bank import Bank
from seggen_d2.foundation.files import write_bytes, write_json
from seggen_d2.foundation.markup import Markup, join, tag
from seggen_d2.segmentation import Palette, check_same_categories, default_palette
from seggen_d2.segmentation.mask_codec import MaskCodec, mask_codec
from seggen_d2.sources import Source, load_dataset

from . import charts, gallery, wording
from .document import document, resource
from .resampling import Judged, judge_runs
from .results import read_runs, read_stages
from .tables import summarise


def make_report(
    runs: Sequence[str | os.PathLike],
    dataset: str | os.PathLike,
    banks: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    *,
    stages: str | os.PathLike | None = None,
    test: str | os.PathLike = "",
    title: str = "SegGen",
    notes: Sequence[str] = (),
) -> Path:
    """Write ``results.json`` and ``report.html`` into ``output``.

    Args:
        runs: run folders ``SETTING-seedN``, or folders that hold them.
        dataset: YAML of the real training data.
        banks: bank folders.
        output: the folder to write to.
        stages: JSON of what each stage took, as the recipe runner writes it.
        test: YAML or name of the test set; with the predictions that runs saved of it, intervals are over its images, too.
        title: of the page.
        notes: sentences of one's own that a reader must know before believing the table.

    Returns:
        The page's path.

    Raises:
        SegGenError: runs, stages, dataset or banks cannot be read, or are of different label spaces.
    """
    source, opened = load_dataset(dataset), [Bank(bank) for bank in banks]
    _check_alike(source, opened)
    found = read_runs(runs)
    judged = judge_runs(found, test) if test else Judged(0, {})
    results = collect(found, read_stages(stages) if stages else {"stages": []}, source, opened, judged)
    output = Path(output)
    results |= {"notes": [*notes]}
    write_json(output / "results.json", {"title": title, **results})
    write_bytes(output / "report.html", page(title, results, source, opened, judged).encode())
    return output / "report.html"


def collect(runs: list[dict[str, Any]], stages: Mapping[str, Any], source: Source, banks: Sequence[Bank], judged: Judged) -> dict[str, Any]:
    """What ``results.json`` holds."""
    summaries = [asdict(summary) for summary in summarise(runs, judged.replicates)]
    facts = {
        "name": source.name,
        "images": len(source.records()),
        "categories": list(source.categories.names),
        "height": source.records()[0]["height"],
        "width": source.records()[0]["width"],
    }
    made_by = {"seggen_d2": seggen_d2.__version__}
    return {
        "runs": runs,
        "summaries": summaries,
        "test_images": judged.images,
        **stages,
        "dataset": facts,
        "banks": [_bank_facts(bank) for bank in banks],
        "versions": made_by,
    }


def _bank_facts(bank: Bank) -> dict[str, Any]:
    return {
        "name": bank.name,
        "strategy": str(bank.info.job.get("strategy", "")),
        "samples": len(bank),
        "rejected": len(bank.rejections()),
        "generators": list(bank.info.generators),
    }


def _check_alike(source: Source, banks: Sequence[Bank]) -> None:
    for bank in banks:
        sides = {"a_is": f"dataset {source.name}", "b_is": f"bank {bank.root}"}
        check_same_categories(source.categories, bank.info.categories, **sides)


def page(title: str, results: Mapping[str, Any], source: Source, banks: Sequence[Bank], judged: Judged) -> str:
    """The HTML document."""
    summaries = summarise(results["runs"], judged.replicates)
    measure, figure = wording.measure(summaries[0].metric)
    palette = banks[0].info.palette if banks else default_palette(len(source.categories))
    return document(
        "report",
        title=title,
        facts=wording.facts(results),
        headline=wording.headline(summaries),
        measure=join(measure),
        figure=join(figure),
        **_pictures(source, banks, gallery.Drawing(_codec(source, banks, palette), source.categories.names)),
        legend=charts.legend(source.categories.names, palette.colors, palette.ignore_color),
        settings=charts.settings_table(summaries),
        per_class=charts.per_class_table(summaries),
        stages=_stages(results),
        meaning=charts.bullets([*wording.meaning(summaries), *wording.pairs(results["runs"], judged.replicates)]),
        caveats=charts.bullets(wording.caveats(results, summaries)),
        commands=join(resource("own_data.txt")),
    )


def _codec(source: Source, banks: Sequence[Bank], palette: Palette) -> MaskCodec:
    """As the banks' Mask2Img was shown masks."""
    told = [bank.info.job.get("codecs", {}).get("mask2img", {}) for bank in banks]
    return mask_codec(source.task, palette, source.categories, **next(filter(None, told), {}))


def _pictures(source: Source, banks: Sequence[Bank], drawing: gallery.Drawing) -> dict[str, Markup]:
    masksyn, imgsyn = (gallery.pairs(source, banks, strategy) for strategy in ("masksyn", "imgsyn"))
    none = tag("p", "No sample of this kind is in the banks.", class_="quiet")
    return {
        "walk": gallery.walk(masksyn[0] if masksyn else None, imgsyn[0] if imgsyn else None, drawing),
        "masksyn": gallery.masksyn_rows(masksyn, drawing) or none,
        "imgsyn": gallery.imgsyn_rows(imgsyn, drawing) or none,
    }


def _stages(results: Mapping[str, Any]) -> Markup:
    if not results["stages"]:
        return tag("p", "Not recorded.", class_="quiet")
    return join(tag("p", wording.totals(results)), charts.stages_table(results["stages"]))
