"""What the page says about the figures, and only that: sentences made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seggen_d2.foundation.markup import Markup, join, tag

from .bootstrap import BETTER, NEITHER, WORSE, Interval
from .charts import duration
from .charts import facts as facts_line
from .tables import BASELINE, PAIRS, Replicates, Summary, baseline_of, compare_runs, grouped, number

MAIN = "real+seggen"  # the setting that the headline is about
FEW_SEEDS = 5
PAPER_SIZE = 768  # pixels
PAPER_SAMPLES = 1_212_600  # 20,210 images x (10 MaskSyn + 50 ImgSyn)
SHARED = (
    "One labelled set stands under all runs, and the generators and the banks were made once: making them again would move the figures, too, and "
    "neither spread nor interval tells by how much (tools/reproduce.py --replications does)."
)
FEW = (
    "Seeds are few (the fewest: {}), so the spread itself is only roughly known; intervals are widened by Student’s t for that. With one seed on a side "
    "nothing is called better or worse, and the interval is over images alone."
)
OVER = {
    True: "Intervals (95%) are of the paired bootstrap: {:,} test images and the seeds are drawn anew, the same for both settings.",
    False: "Intervals (95%) are over training seeds alone, by Student’s t: the predictions of single images were not given.",
}
SHARE = "“Of the oracle’s” is the share of what true scenes in place of the synthetic samples gain: what perfect generators would give."
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
    baseline = "real data alone" if baseline_of(summary.setting) == BASELINE else f"“{baseline_of(summary.setting)}”"
    harm = " Here the synthetic data did harm." if summary.verdict == WORSE else ""
    return f"{summary.setting} is {_sized(summary.difference, summary.interval, baseline, summary.share)}{VERDICTS[summary.verdict]}{harm}"


def _sized(difference: float, found: Interval | None, than: str, share: float | None = None) -> str:
    bounds = f" [{found.low:+.1f}, {found.high:+.1f}]".replace("-", "−") if found else ""
    reached = f", {share:.0f}% of the oracle’s gain".replace("-", "−") if share is not None else ""
    return f"{abs(difference):.1f} points{bounds} {'above' if difference >= 0 else 'below'} {than}{reached}"


def pairs(runs: Sequence[Mapping[str, Any]], replicates: Replicates) -> list[str]:
    """A sentence for each of the further pairs that were run."""
    groups = grouped(runs)
    found = [(pair, compare_runs(groups[pair[0]], groups[pair[1]], replicates)) for pair in PAIRS if pair[0] in groups and pair[1] in groups]
    return [f"{ours} is {_sized(difference, bounds, theirs)}{VERDICTS[verdict]}" for (ours, theirs), (difference, bounds, verdict) in found]


VERDICTS = {
    BETTER: ": better, beyond what other images and seeds would change.",
    WORSE: ": worse, beyond what other images and seeds would change.",
    NEITHER: ": these runs do not tell the two apart.",
    "one seed": ", with one seed on a side: too few to tell the two apart.",
}


def meaning(summaries: Sequence[Summary]) -> list[str]:
    """A sentence for each setting that is compared with the baseline."""
    lines = [_compared(summary) for summary in summaries if summary.difference is not None]
    return lines or ["There is nothing to compare: the table needs runs of “real” and of another setting."]


def caveats(results: Mapping[str, Any], summaries: Sequence[Summary]) -> list[str]:
    """What a reader must know before believing the table."""
    fewest = min((len(summary.values) for summary in summaries), default=0)
    samples = sum(bank["samples"] for bank in results["banks"])
    side = max(results["dataset"]["height"], results["dataset"]["width"])
    lines = [OVER[bool(results["test_images"])].format(results["test_images"]), SHARED]
    lines += [SHARE] if any(summary.share is not None for summary in summaries) else []
    lines += [FEW.format(fewest)] if fewest < FEW_SEEDS else []
    lines += [SMALL.format(side, samples)] if side < PAPER_SIZE or samples < PAPER_SAMPLES else []
    return [*lines, *results["notes"], UNPICKED]


def totals(results: Mapping[str, Any]) -> str:
    """Wall time and memory of the whole."""
    work = duration(sum(stage["seconds"] for stage in results["stages"]))
    parts = [f"{len(results['stages'])} stages, {work} of work"]
    if "wall_seconds" in results:
        parts.append(f"{duration(results['wall_seconds'])} on the clock, as stages ran side by side")
    if "peak_rss_mb" in results:
        parts.append(f"at most {results['peak_rss_mb']:,.0f} MB of memory over all processes at once")
    return "; ".join(parts) + "."
