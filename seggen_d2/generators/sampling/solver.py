"""The samplers: diffusers' schedulers over the base's noise levels, with churn drawn per sample.

Shapes: latents and noise ``(B, C, h, w)`` float32. ``sigma`` is the deviation of the noise beside clean latents of
scale 1 (Karras et al. 2022); a *time* is the place in the base's training schedule, 0 to 999, that has this sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from seggen_d2.foundation.errors import SegGenError

from .options import SamplerOptions

Predict = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]  # (scaled latents, time, sigma) to a prediction
SCHEDULERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "euler": (EulerDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": (UniPCMultistepScheduler, {"solver_order": 2}),
    "lcm": (LCMScheduler, {}),
    "lightning": (EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "dmd2": (LCMScheduler, {"original_inference_steps": 1000}),  # times 999, 749, 499, 249 at 4 steps
}


def make_scheduler(config: Mapping[str, Any], options: SamplerOptions) -> SchedulerMixin:
    """The scheduler that ``options`` name, over the noise levels and prediction type of a base's scheduler ``config``.

    Raises:
        SegGenError: the base's noise levels do not go with the sampler.
    """
    name = options.distilled.format if options.distilled else options.sampler
    kind, settings = SCHEDULERS[name]
    if kind is HeunDiscreteScheduler and config.get("rescale_betas_zero_snr"):
        raise SegGenError("sampler: heun does not know this base's noise levels", expected="a base without rescale_betas_zero_snr",
                          found="rescale_betas_zero_snr: true in scheduler_config.json", remedy="use sampler: euler, dpm++ or unipc")
    karras = {} if options.distilled else {"use_karras_sigmas": options.karras}
    return kind.from_config(config, **settings, **karras)


class NoiseLevels:
    """Between times and sigmas of a base's training schedule, linear in log sigma as diffusers' schedulers are."""

    def __init__(self, alphas_cumprod: torch.Tensor):
        squares = alphas_cumprod.double().numpy()
        self.log_sigmas = np.log(((1 - squares) / squares) ** 0.5)
        self.times = np.arange(len(squares))

    def sigma(self, time: float) -> float:
        return float(np.exp(np.interp(time, self.times, self.log_sigmas)))

    def time(self, sigma: float) -> float:
        """The nearest end of the schedule for sigmas beyond it."""
        return float(np.interp(np.log(sigma), self.log_sigmas, self.times))


class Solver:
    """Takes noise to clean latents, given what a network predicts.

    Args:
        config: the base's scheduler config: noise levels and prediction type.
        options: sampler, steps, churn, strength.
    """

    def __init__(self, config: Mapping[str, Any], options: SamplerOptions):
        self.options, self.scheduler = options, make_scheduler(config, options)
        self.levels = NoiseLevels(self.scheduler.alphas_cumprod)
        self.skipped = (options.steps - int(options.steps * options.strength)) * self.scheduler.order

    def run(self, predict: Predict, noise: torch.Tensor, generators: Sequence[torch.Generator],
            photos: torch.Tensor | None = None) -> torch.Tensor:
        """Latents of the images.

        Args:
            predict: the network, guided.
            noise: standard normal.
            generators: one a sample, for churn and for the noise of consistency steps.
            photos: latents to start from where the strength is below 1.
        """
        self.scheduler.set_timesteps(self.options.steps, device=noise.device)
        self.scheduler.set_begin_index(self.skipped)
        times = self.scheduler.timesteps[self.skipped :]
        more = {"generator": list(generators)} if isinstance(self.scheduler, LCMScheduler) else {}
        latents = self._start(noise, photos, times[:1])
        for index, (time, sigma) in enumerate(zip(times, map(self.levels.sigma, times.tolist()), strict=True), self.skipped):
            if self._is_churned(index):
                latents, time, sigma = self._churn(latents, index, generators)
            prediction = predict(self.scheduler.scale_model_input(latents, time), time, sigma)
            latents = self.scheduler.step(prediction, time, latents, return_dict=False, **more)[0]
        return latents

    def _start(self, noise: torch.Tensor, photos: torch.Tensor | None, first: torch.Tensor) -> torch.Tensor:
        if photos is None:
            return noise * self.scheduler.init_noise_sigma
        return self.scheduler.add_noise(photos, noise, first.repeat(len(noise)))

    def _is_churned(self, index: int) -> bool:
        """Whether churn comes before the evaluation ``index``: not in the middle of a Heun step."""
        if not self.options.churn or not getattr(self.scheduler, "state_in_first_order", True):
            return False
        low, high = self.options.churn_range or (0.0, np.inf)
        return low <= float(self.scheduler.sigmas[index]) <= high

    def _churn(self, latents: torch.Tensor, index: int, generators: Sequence[torch.Generator]) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Raise the noise before the network sees it (Karras et al. 2022, algorithm 2, lines 5 and 6); the step then starts there.

        Diffusers' own ``s_churn`` adds it after the network's call, which breaks the step for large churn.
        """
        sigma = float(self.scheduler.sigmas[index])
        raised = sigma * (1 + min(self.options.churn / self.options.steps, 2**0.5 - 1))
        fresh = draw_noise(generators, latents.shape[1:]).to(latents.device)
        self.scheduler.sigmas[index] = raised
        time = torch.tensor(self.levels.time(raised), dtype=torch.float32, device=latents.device)
        return latents + fresh * (self.options.churn_noise * (raised**2 - sigma**2) ** 0.5), time, raised


def draw_noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> torch.Tensor:
    """Standard normal ``(B, *shape)`` float32 on the CPU, each sample's from its own generator."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])
