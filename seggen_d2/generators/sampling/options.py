"""How a generator is sampled, as plain values: read from YAML, checked, written into a bank's job."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.seeds import fingerprint_of_files

SAMPLERS = ("euler", "heun", "dpm++", "unipc")
CHURNED = ("euler", "heun")
DISTILLED_FORMATS = ("lcm", "lightning", "dmd2")
DISTILLED_LICENCES = {"latent-consistency/lcm-lora-sdxl": "CreativeML Open RAIL++-M", "ByteDance/SDXL-Lightning": "CreativeML Open RAIL++-M",
                      "tianweiy/DMD2": "CC BY-NC 4.0 (non-commercial)"}
DECODE_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Distilled:
    """A LoRA that lets the base paint in 4 to 8 steps; none where ``weights`` is empty.

    Attributes:
        weights: a ``.safetensors`` file, or ``owner/name/file.safetensors`` on the hub.
        format: which method made it, and so how it is sampled: ``lcm`` (Luo et al. 2023), ``lightning`` (Lin et al.
            2024) or ``dmd2`` (Yin et al. 2024).
        scale: weight of the LoRA, above 0, at most 2.
        licence: of the LoRA; banks made with it name it. May stay empty for those whose licence is known by name.
    """

    weights: str = ""
    format: str = "lcm"
    scale: float = 1.0
    licence: str = ""

    def __post_init__(self) -> None:
        check_choice("distilled.format", self.format, DISTILLED_FORMATS)
        check_range("distilled.scale", self.scale, 0.01, 2)
        if self.weights and not self.weights.endswith(".safetensors"):
            raise SegGenError("distilled.weights is no safetensors file", expected="FILE.safetensors or OWNER/NAME/FILE.safetensors",
                              found=repr(self.weights), remedy="other formats may carry code and are not opened")

    def __bool__(self) -> bool:
        return bool(self.weights)

    @property
    def hub_name(self) -> tuple[str, str] | None:
        """``(owner/name, file)`` where the weights are on the hub, None where they are a file here."""
        parts = self.weights.split("/")
        return ("/".join(parts[:2]), "/".join(parts[2:])) if len(parts) > 2 and parts[0] and not Path(self.weights).is_file() else None

    @property
    def told_licence(self) -> str:
        """What a bank says: the licence given, else the one that is known of the hub name."""
        known = DISTILLED_LICENCES.get(self.hub_name[0]) if self.hub_name else None
        return self.licence or known or "unknown: see the terms of the distilled weights"

    def facts(self) -> dict[str, Any]:
        """What a bank records of it, without paths: ``kind, format, scale, fingerprint, licence, base``."""
        name = "/".join(self.hub_name) if self.hub_name else Path(self.weights).name
        return {"kind": "distilled", "format": self.format, "scale": self.scale, "fingerprint": self._fingerprint(),
                "licence": self.told_licence, "base": name}

    def told_of(self, kind: str) -> tuple[dict[str, Any], ...]:
        """What a bank lists of it beside the network ``kind`` that it was fused into; nothing where there is none."""
        return ({**self.facts(), "of": kind},) if self else ()

    def _fingerprint(self) -> str:
        path = Path(self.weights)
        return fingerprint_of_files([path]) if path.is_file() else ""


@dataclass(frozen=True)
class SamplerOptions:
    """How one network is sampled; the defaults take no shortcut.

    Attributes:
        steps: denoising steps (the paper: 200 for masks, 40 for images). Heun evaluates the network twice a step.
        guidance: classifier-free guidance scale (Ho & Salimans 2022); 1 is none, at half the cost.
        conditioning_scale: weight of the ControlNet's residuals.
        sampler: ``euler`` (SDXL's own), ``heun`` (Karras et al. 2022, algorithm 2), ``dpm++`` (DPM-Solver++ 2M, Lu et
            al. 2022) or ``unipc`` (Zhao et al. 2023).
        karras: Karras-spaced sigmas (Karras et al. 2022, equation 5, rho 7) in place of the base's own schedule.
        churn: S_churn of algorithm 2; 0 is deterministic. Euler and Heun alone.
        churn_range: S_tmin and S_tmax, sigmas between which churn acts; empty for everywhere.
        churn_noise: S_noise, the deviation of the noise that churn adds.
        strength: share of the schedule that is run, from the noised real photo (SDEdit, Meng et al. 2022); 1 starts
            from pure noise.
        distilled: a LoRA for 4 to 8 steps; it brings its own sampler.
        guidance_interval: sigmas ``[lo, hi]`` between which guidance acts (Kynkäänniemi et al. 2024); empty for everywhere.
        compile: ``torch.compile`` the networks; the first batch of each size takes minutes.
        channels_last: keep images as NHWC in memory.
        decode_dtype: of the VAE: float32, bfloat16 or float16 (SDXL's own VAE overflows in float16).
        decode_batch: images that the VAE sees at once; 0 for as many as have 1024 x 1024 pixels together, since its memory
            grows with pixels (some GB for one image of SDXL's in float32).
        decode_tiles: decode in overlapping tiles, which bounds memory; their seams may show.
    """

    steps: int = 40
    guidance: float = 5.0
    conditioning_scale: float = 1.0
    sampler: str = "euler"
    karras: bool = False
    churn: float = 0.0
    churn_range: tuple[float, ...] = ()
    churn_noise: float = 1.0
    strength: float = 1.0
    distilled: Distilled = field(default_factory=Distilled)
    guidance_interval: tuple[float, ...] = ()
    compile: bool = False
    channels_last: bool = False
    decode_dtype: str = "float32"
    decode_batch: int = 0
    decode_tiles: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (("steps", 1, 1000), ("guidance", 1, 50), ("conditioning_scale", 0, 10), ("churn", 0, 1000),
                                ("churn_noise", 0, 2), ("strength", 0.01, 1), ("decode_batch", 0, 4096)):
            check_range(name, getattr(self, name), low, high)
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("decode_dtype", self.decode_dtype, DECODE_DTYPES)
        for name in ("churn_range", "guidance_interval"):
            _check_interval(name, getattr(self, name))
        if int(self.steps * self.strength) < 1:
            raise SegGenError(f"strength {self.strength} leaves no step of {self.steps}", expected=f"strength of at least {1 / self.steps:.3g}",
                              found=f"{self.strength}", remedy="give more steps or more strength")
        if self.churn and self.sampler not in CHURNED:
            raise SegGenError(f"churn does not go with the sampler {self.sampler}", expected="churn: 0, or sampler: " + " | ".join(CHURNED),
                              found=f"churn: {self.churn}", remedy="DPM-Solver++ and UniPC look back over steps, which fresh noise would break")
        if self.distilled:
            self._check_distilled()

    def _check_distilled(self) -> None:
        given = [name for name, plain in (("sampler", "euler"), ("karras", False), ("churn", 0)) if getattr(self, name) != plain]
        if given:
            raise SegGenError(f"{' and '.join(given)} cannot be chosen with distilled weights", expected="no such key",
                              found=", ".join(f"{name}: {getattr(self, name)}" for name in given),
                              remedy=f"the format {self.distilled.format} has its own sampler: leave the keys out")
        check_range("steps with distilled weights", self.steps, 1, 16)
        check_range("guidance with distilled weights", self.guidance, 1, 2)


def _check_interval(name: str, interval: tuple[float, ...]) -> None:
    if interval and not (len(interval) == 2 and 0 <= interval[0] < interval[1]):
        raise SegGenError(f"{name} is no interval of sigmas", expected="[lo, hi] with 0 <= lo < hi, or []", found=str(list(interval)),
                          remedy="SDXL's sigmas go from 0.03 (almost clean) to 14.6 (almost noise)")
