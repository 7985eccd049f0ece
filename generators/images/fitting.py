"""How a denoiser learns from patients: with privacy from noisy moments and DP-SGD, without it from the pictures themselves.

With privacy, in order: who has pictures (`Occurrence`), moments (`moments`), training on public pictures moved to those moments
(no patient takes part: it costs nothing), and DP-SGD on few weights. Both ways leave saved states, from which a killed job
goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from generators.images import moments as moments_file
from generators.images.diffusion import to_bytes, to_unit
from generators.images.encoding import flat
from generators.images.layout import Layout
from generators.images.moments import Moments, Questions
from generators.images.network import Denoiser, parameters, weights
from generators.images.private_loss import patient_loss
from generators.images.settings import Settings
from generators.images.spectrum import Spectrum
from generators.images.training import Pictures, State, Trainer, pack, part, unpack
from privacy.charges import Charge
from privacy.session import Session
from synthgen.generator import Progress
from synthgen.occurrence import Occurrence
from synthgen.randomness import child_seed

OCCURRENCE, GRADIENT = "occurrence", "images/gradient"
LEAST_SHARE = 0.05
"""Of patients with pictures: below it noise would be blown up without end."""
DOUBT = 2.0
"""Standard deviations by which an answer has to be more than noise before it moves public pictures: `Questions.doubt`."""
DRAWN = 4000
"""Pictures drawn from the moments, to train on."""
AT_ONCE = 2**25
"""Pixels of those that are floating-point numbers at a time: 4,000 colour pictures of 256 pixels would fill six gigabytes."""


def charges(layout: Layout, occurrence: Occurrence, settings: Settings) -> list[Charge]:
    """One charge a question; noise relative: 1 / sqrt(share), the steps of DP-SGD sharing theirs."""
    shares = settings.shares
    multiplier = (settings.gradient_steps / shares.gradient) ** 0.5 * settings.sampling_rate
    questions = {
        moments_file.MEAN: shares.mean,
        moments_file.SCALE: shares.scale,
        moments_file.LOCATION: shares.location,
        moments_file.CONTRAST: shares.contrast,
        moments_file.DEPENDENCE: shares.dependence,
    }
    if layout.width == 1:
        del questions[moments_file.LOCATION], questions[moments_file.CONTRAST]
    return [
        occurrence.charge(1 / shares.occurrence**0.5),
        *(Charge(name, 1 / share**0.5) for name, share in questions.items()),
        Charge(GRADIENT, multiplier, settings.sampling_rate, settings.gradient_steps),
    ]


@dataclass
class Fit:
    """One fit: what it is made with, and where it stands. `public` are pictures of nobody's patients, or None."""

    layout: Layout
    settings: Settings
    occurrence: Occurrence
    denoiser: Denoiser
    public: Pictures | None
    device: str
    seed: int
    progress: Progress

    def run(self, session: Session) -> Denoiser:
        """The moving average of the trained denoiser."""
        return self._with_privacy(session) if session.private else self._without_privacy(session)

    # Without privacy ------------------------------------------------------------------------------------------------------
    def _without_privacy(self, session: Session) -> Denoiser:
        trainer = Trainer(self.denoiser, self.settings, self.device)
        if (state := session.restored()) is not None:
            trainer.restore(state)
        pictures = Pictures(*flat(session.reveal()))
        self.occurrence.fit(session)
        steps = self.settings.size.steps
        trainer.run(pictures, steps, self.seed, self.progress, "training", lambda: session.checkpoint(trainer.state()))
        return trainer.average

    # With privacy ---------------------------------------------------------------------------------------------------------
    def _with_privacy(self, session: Session) -> Denoiser:
        state = session.restored() or {}
        learnt = self._moments(session, state)
        trainer = Trainer(self.denoiser, self.settings, self.device)
        steps = self.settings.pretrain_steps or self.settings.size.steps
        before = learnt.state() | self.occurrence.state()
        if "descent.step" not in state:
            if "step" in state:
                trainer.restore(state)
            drawn = self._drawn(learnt)
            save = lambda: session.checkpoint(before | trainer.state())  # noqa: E731
            trainer.run(drawn, steps, self.seed, self.progress, "training on drawn pictures", save)
        return self._descent(session, trainer.average, before, part(state, "descent."))

    def _moments(self, session: Session, state: State) -> Moments:
        """From the saved state, or noisy sums and who has pictures."""
        if state:
            self.occurrence.restore(state)
            return Moments.of_state(state)
        self.occurrence.fit(session, OCCURRENCE)
        spectrum, low = Spectrum(self.layout.channels, self.layout.side), self.settings.low_frequencies
        public = None if self.public is None else self._public_moments(spectrum, min(low, spectrum.numbers))
        ask = Questions(spectrum, session, self._share_with_pictures(), 0.0 if public is None else DOUBT)
        return moments_file.learn(ask, self.layout.width, self.layout.longest, low, public)

    def _share_with_pictures(self) -> float:
        """As `Occurrence` learnt it: its first moment is the share of patients without any."""
        return min(1.0, max(LEAST_SHARE, 1 - float(self.occurrence.state()["occurrence.moments"][0])))

    def _public_moments(self, spectrum: Spectrum, low: int) -> Moments:
        assert self.public is not None
        return moments_file.of_public(spectrum, to_unit(self.public.images), self.public.conditions, low)

    def _drawn(self, learnt: Moments) -> Pictures:
        """Pictures with the learnt moments: public ones moved there, or Gaussian ones. Conditions are drawn evenly, as every
        category is to be learnt however rare it is."""
        stream = torch.Generator().manual_seed(child_seed(self.seed, "images", "drawn"))
        if self.public is None:
            rows, wanted = torch.zeros(DRAWN, dtype=torch.int64), self.layout.any_conditions(DRAWN, stream)
        else:
            rows = torch.randint(0, len(self.public), (DRAWN,), generator=stream)
            wanted = self.public.conditions[rows]
        spectrum = Spectrum(self.layout.channels, self.layout.side)
        own = None if self.public is None else self._public_moments(spectrum, len(learnt.dependence))
        at_once = max(1, AT_ONCE // (self.layout.channels * self.layout.side**2))
        parts = []
        for some, told in zip(torch.split(rows, at_once), torch.split(wanted, at_once), strict=True):
            if self.public is None or own is None:
                parts.append(to_bytes(moments_file.draw(spectrum, learnt, told, stream)))
            else:
                base = to_unit(self.public.images[some])
                parts.append(to_bytes(moments_file.move(spectrum, learnt, base, own, told, told)))
        return Pictures(torch.cat(parts), wanted, torch.ones(len(wanted)))

    def _descent(self, session: Session, start: Denoiser, before: State, state: State) -> Denoiser:
        """DP-SGD (Abadi et al. 2016) with Adam on the chosen weights, from the average of the training before."""
        model, average = self.denoiser, start
        model.load_state_dict(weights(start))
        model.train().choose(self.settings.trainable)
        chosen = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(chosen, lr=self.settings.private_rate)
        done = unpack(state, model, average, optimizer) if state else 0
        loss = patient_loss(self.settings, self.device)
        for step in range(done, self.settings.gradient_steps):
            session.gradient(
                model, loss, self.settings.clip_norm, GRADIENT, None, "hooks", self.settings.patients_at_a_time
            )
            optimizer.step()
            _follow(average, model, 1 - 1 / min(step + 1, 10))
            self.progress("private training", step + 1, self.settings.gradient_steps)
            if (step + 1) % max(1, self.settings.checkpoint_every // 10) == 0:
                packed = pack(model, average, optimizer, step + 1)
                session.checkpoint(before | {f"descent.{k}": v for k, v in packed.items()})
        model.requires_grad_(True)
        return average


def _follow(average: Denoiser, model: Denoiser, decay: float) -> None:
    """The average of the last ten or so: noise of single steps goes, what they agree on stays."""
    with torch.no_grad():
        for mean, now in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


def describe(denoiser: Denoiser, settings: Settings) -> dict[str, int]:
    """Public sizes, for the model card: weights, and how many of them DP-SGD moves."""
    every = parameters(denoiser)
    denoiser.choose(settings.trainable)
    moved = parameters(denoiser)
    denoiser.requires_grad_(True)
    return {"weights": every, "weights_moved_privately": moved}
