"""The whole of it: banks and a real training set in, advice out."""

from __future__ import annotations

import os
import statistics as numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seggen_d2.bank import Bank, FilteredBank
from seggen_d2.engine.datasets import open_banks
from seggen_d2.evaluation.predictions import open_dataset
from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.files import write_bytes, write_json
from seggen_d2.mixing.filters import through_filter
from seggen_d2.mixing.sampling import check_banks
from seggen_d2.scoring.samples import Real
from seggen_d2.sources.dataset_file import Source

from .advice import Advice, to_json
from .folds import folds_of, names_in
from .labels import probe_categories
from .options import ProbeOptions, check_p_augs
from .page import page
from .probe import Prober
from .reasons import Alignment, reasons_of
from .runs import Arm, Probes, print_of
from .statistics import Counts, count_banks, count_real, facts_of
from .store import Store
from .verdict import judge


def advise(
    banks: Sequence[str],
    dataset: str,
    output: str | os.PathLike,
    *,
    options: ProbeOptions | None = None,
    p_augs: tuple[float, ...] = (0.3, 0.6),
    filters: Sequence[str] = (),
    runs: str | os.PathLike = "",
    replicates: int = 2000,
) -> Advice:
    """Probe banks on a real training set, and write ``advice.json`` and ``advice.html`` into ``output``.

    The same call goes on after a stop; finished probes are not run again, nor those that other advice of the same ``runs`` left there.

    Args:
        banks: folders or URLs; several are drawn from as one training does. dataset: the real training set, a YAML file or a name.
        options: of the probes. p_augs: what is tried. filters: ``scores/NAME`` or ``scores/NAME:READING``, tried beside the banks as they are.
        runs: folder of the probes; "" is ``output/probes``. replicates: bootstrap draws.

    Raises:
        SegGenError: a bank or dataset cannot be opened or does not fit, or an option is out of range.
    """
    check_range("--replicates", replicates, 40, 10**6)
    p_augs, source = check_p_augs(p_augs), open_dataset(dataset)
    opened = _opened(banks, source)
    records = source.records()
    resolved = (options or ProbeOptions()).resolved(int(numbers.median(min(record["height"], record["width"]) for record in records)))
    categories = probe_categories(source.categories, source.task)
    store, real = Store(runs or Path(output) / "probes"), Real(source)
    views = {"": opened, **{name: through_filter(opened, name) for name in filters}}
    folds = folds_of(records, resolved.folds, held_out=resolved.held_out, limit=resolved.images, group_pattern=resolved.group_pattern)
    probes = Probes(Prober(categories, source.task, resolved), folds, resolved.seeds, real.print, views,
                    {name: _print(view, name) for name, view in views.items()}, store)
    arms = [Arm(p_aug, name) for name in views for p_aug in p_augs]
    probes.make([Arm(), *arms])
    found = _advice(source, records, probes, arms, replicates)
    write_json(Path(output) / "advice.json", to_json(found))
    write_bytes(Path(output) / "advice.html", page(found).encode())
    return found


def _opened(banks: Sequence[str], source: Source) -> list[Bank]:
    if not banks:
        raise SegGenError("no bank is named", expected="one or several banks' folders")
    opened = open_banks(banks, source)
    check_banks(opened)
    return opened


def _print(view: Sequence[Bank | FilteredBank], name: str) -> str:
    """What tells banks, read through a filter, from others."""
    files = [sorted(bank.store.listing(name.partition(":")[0]).items()) for bank in view] if name else []
    return print_of(view, repr([name, files]) if name else "")


def _advice(source: Source, records: Sequence[dict[str, Any]], probes: Probes, arms: Sequence[Arm], replicates: int) -> Advice:
    names = probes.prober.categories.names
    base = probes.probed(Arm())
    verdict = judge(base, {arm: probes.probed(arm) for arm in arms}, names, replicates)
    real = _real_counts(probes)
    bank, alignment = count_banks(probes.banks[""], len(names)), Alignment(*probes.confusions())
    facts = [facts_of(one, names_in(records)) for one in probes.banks[""]]
    count = len(probes.usable) * probes.seeds * (len(arms) + 1)
    return Advice(source.name, tuple(names), verdict, reasons_of(names, real, bank, facts, alignment, verdict), real, bank, facts, alignment,
                  probes.prober.options, len(probes.usable), base.sums.shape[1], count, replicates)


def _real_counts(probes: Probes) -> Counts:
    """Of the real images that are used."""
    records = {record["file_name"]: record for fold in probes.folds for record in (*fold.train, *fold.test)}
    facts = {"real": probes.real, "options": probes.prober.options.facts()}
    kept = probes.store.get("classes", facts)
    if kept is None:
        kept = count_real([*records.values()], probes.prober.targets)
        probes.store.put("classes", facts, kept)
    return Counts(len(records), kept["pixels"], kept["held"])
