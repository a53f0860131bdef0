"""What the page says about the figures, and only that: sentences made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seggen_d2.foundation.markup import Markup, join, tag

from .charts import duration
from .charts import facts as facts_line
from .tables import BASELINE, Summary, number

MAIN = "real+seggen"  # the setting that the headline is about
FEW_SEEDS = 5
PAPER_SIZE = 768  # pixels
PAPER_SAMPLES = 1_212_600  # 20,210 images x (10 MaskSyn + 50 ImgSyn)
SHARED = (
    "The spread is that of training seeds alone. The generators and the banks were made once and are shared by all "
    "runs; making them again would move the figures too."
)
FEW = (
    "Seeds are few (the fewest: {}), so the spread itself is only roughly known. “Better” and “worse” mean beyond one "
    "standard deviation: with so few seeds a hint, not a proof."
)
SMALL = (
    f"The experiment is small: images of {{}} pixels and {{:,}} synthetic samples, where the paper has {PAPER_SIZE} "
    f"pixels, {PAPER_SAMPLES:,} samples, and generators that start from SDXL. It shows that the parts work together; "
    "what the method gains at full size does not follow from it."
)
UNPICKED = "The samples pictured are those of the dataset’s first images by name; none was picked."


def facts(results: Mapping[str, Any]) -> Markup:
    """The experiment in a line of figures."""
    data = results["dataset"]
    rows = [
        (f"{data['images']:,}", "labelled images"),
        (str(len(data["categories"])), "categories"),
        (f"{data['width']}×{data['height']}", "pixels"),
    ]
    rows += [_bank_fact(bank) for bank in results["banks"]]
    rows.append((str(len(results["runs"])), "training runs"))
    return facts_line(rows)


def _bank_fact(bank: Mapping[str, Any]) -> tuple[str, str]:
    kind = {"masksyn": "MaskSyn", "imgsyn": "ImgSyn"}.get(bank["strategy"], bank["name"])
    return f"{bank['samples']:,}", f"{kind} samples" + (f", {bank['rejected']:,} rejected" if bank["rejected"] else "")


MEASURES = {"mIoU": ("Mean IoU", "IoU"), "PQ": ("Panoptic quality (PQ)", "PQ"), "AP": ("Mask AP", "AP")}


def measure(metric: str) -> tuple[str, str]:
    """What the page calls a figure: over all categories, and of one."""
    return MEASURES.get(metric, (metric, metric))


def headline(summaries: Sequence[Summary]) -> Markup:
    """The main comparison: two figures and a sentence."""
    by_name = {summary.setting: summary for summary in summaries}
    baseline, main = by_name.get(BASELINE), by_name.get(MAIN)
    if not baseline or not main:
        return tag("p", "No pair of runs with real data alone and with both banks was recorded.", class_="quiet")
    figures = [
        _figure(baseline, f"{baseline.metric}, real data alone", "plain"),
        _figure(main, f"{main.metric}, real data and both banks", "main"),
    ]
    return join(tag("div", figures, class_="headline"), tag("p", _compared(main), class_="lead"))


def _figure(summary: Summary, words: str, class_: str) -> Markup:
    return tag("div", tag("b", number(summary.mean)), tag("span", words), tag("small", _seeds(summary)), class_=class_)


def _seeds(summary: Summary) -> str:
    count = len(summary.values)
    return "1 seed" if count == 1 else f"± {summary.spread:.1f} over {count} seeds"


def _compared(summary: Summary) -> str:
    size = f"{abs(summary.difference):.1f} points {'above' if summary.difference >= 0 else 'below'} real data alone"
    told = {
        "better": f"{size}: more than seeds differ among themselves.",
        "worse": f"{size}: more than seeds differ among themselves. Here the synthetic data did harm.",
        "within seed spread": f"{size}, within the spread between seeds: these runs do not tell the two apart.",
        "one seed": f"{size}, with one seed on a side: too few to tell the two apart.",
    }
    return f"{summary.setting} is {told[summary.verdict]}"


def meaning(summaries: Sequence[Summary]) -> list[str]:
    """A sentence for each setting that is compared with the baseline."""
    lines = [_compared(summary) for summary in summaries if summary.difference is not None]
    return lines or ["There is nothing to compare: the table needs runs of “real” and of another setting."]


def caveats(results: Mapping[str, Any], summaries: Sequence[Summary]) -> list[str]:
    """What a reader must know before believing the table."""
    fewest = min((len(summary.values) for summary in summaries), default=0)
    samples = sum(bank["samples"] for bank in results["banks"])
    side = max(results["dataset"]["height"], results["dataset"]["width"])
    lines = [SHARED]
    lines += [FEW.format(fewest)] if fewest < FEW_SEEDS else []
    lines += [SMALL.format(side, samples)] if side < PAPER_SIZE or samples < PAPER_SAMPLES else []
    return [*lines, UNPICKED]


def totals(results: Mapping[str, Any]) -> str:
    """Wall time and memory of the whole."""
    work = duration(sum(stage["seconds"] for stage in results["stages"]))
    parts = [f"{len(results['stages'])} stages, {work} of work"]
    if "wall_seconds" in results:
        parts.append(f"{duration(results['wall_seconds'])} on the clock, as stages ran side by side")
    if "peak_rss_mb" in results:
        parts.append(f"at most {results['peak_rss_mb']:,.0f} MB of memory over all processes at once")
    return "; ".join(parts) + "."
