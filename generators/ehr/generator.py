"""The EHR generator: a variational autoencoder over a patient's whole record, pretrained on public knowledge."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from generators.ehr import nonprivate_fit, private_fit, sampling
from generators.ehr.charges import charges
from generators.ehr.encoding import encode
from generators.ehr.fitted import Fitted
from generators.ehr.layout import Layout
from generators.ehr.model import RecordVAE
from generators.ehr.pretraining import Simulated, pretrained, simulated
from generators.ehr.rules import breakers
from generators.ehr.settings import Settings
from privacy.charges import Charge
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, parse
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.generator import Progress
from synthgen.randomness import child_seed
from synthgen.threads import one_thread
from synthgen.values import table


class EHRVAE:
    """See `synthgen.generator.Generator`.

    Args:
        dictionary: the cohort's; nothing else tells it what a column means.
        settings: keys of `generators.ehr.settings.Settings`.
        device: accepted for the protocol; at the size of these networks a processor is faster than a graphics card.
    """

    modality: ClassVar[str] = "ehr"
    private: ClassVar[bool] = True

    def __init__(self, dictionary: Dictionary, settings: Mapping[str, Any] | None = None, device: str = "cpu") -> None:
        self.dictionary = dictionary
        self.settings = parse(Settings, dict(settings or {}), "generators.ehr")
        self.device = device
        self.layout = Layout(dictionary, self.settings.max_visits, self.settings.max_events)
        breakers(
            {name: table(t.columns, {}, 0) for name, t in dictionary.tables.items()}, dictionary
        )  # can they be read?
        self._model: RecordVAE | None = None
        self._pretrain_seed = 0
        self._fitted: Fitted | None = None
        self._known: Simulated | None = None

    def charges(self, declared_patients: int) -> Sequence[Charge]:
        return charges(self.layout, self.settings)

    def encode(self, cohort: Cohort) -> dict[str, torch.Tensor]:
        return encode(cohort, self.layout)

    def pretrain(self, seed: int, cache: Path, progress: Progress) -> None:
        self._pretrain_seed = seed
        self._fitted = self._known = None
        with one_thread():
            self._model = pretrained(self.layout, self.settings, seed, cache, progress)

    def fit(self, session: Session, seed: int, progress: Progress) -> None:
        if self._model is None:
            raise ConfigError("the EHR generator is fitted after it was pretrained: call pretrain first")
        model, public = self._copy(), self._public()
        with torch.random.fork_rng(devices=[]), one_thread():
            torch.manual_seed(child_seed(seed, "ehr", "fit"))
            if session.private:
                self._fitted = private_fit.fit(model, public, session, self.settings, seed, progress)
            else:
                self._fitted = nonprivate_fit.fit(model, public, session.reveal(), self.settings, seed, progress)

    def sample(self, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Cohort:
        with one_thread():
            return sampling.sample(self._ready(), patients, rng, where)

    def log_likelihood(self, cohort: Cohort) -> torch.Tensor:
        """[patients] evidence lower bound of each record, in public units: what a white-box audit asks."""
        fitted = self._ready()
        raw = encode(cohort, self.layout)
        records = fitted.calibration.apply(dict(raw), self.layout)
        draws = torch.randn(8, fitted.model.latent, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            total = torch.stack([fitted.model(records, draw[None]) for d in draws for draw in (d, -d)]).mean(dim=0)
            for name in ("x", "static_x"):
                _, scale = fitted.calibration.field(name, self.layout)
                counts = (~torch.isnan(raw[name])).to(scale)
                total = total - (counts * scale.log()).flatten(1).sum(dim=1)
        return total.double()

    def save(self, folder: Path) -> None:
        self._ready().save(folder)
        about = {
            "generator": "EHRVAE",
            "dictionary": self.dictionary.fingerprint,
            "settings": self.settings.model_dump(),
        }
        try:
            (folder / "model.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise WorkspaceError(f"{folder}: the model cannot be written ({error.strerror})") from None

    def load(self, folder: Path) -> None:
        path = folder / "model.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            fits = (
                about["dictionary"] == self.dictionary.fingerprint and about["settings"] == self.settings.model_dump()
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise WorkspaceError(f"{path}: the model is missing or corrupt. Run the job again") from None
        if not fits:
            raise WorkspaceError(
                f"{path}: the model belongs to another dictionary or other settings. Run the job again"
            )
        self._fitted = Fitted.load(folder, RecordVAE(self.layout, self.settings))

    def _public(self) -> Simulated:
        if self._known is None:
            seed, wanted = child_seed(self._pretrain_seed, "known"), self.settings
            patients, populations = 2 * wanted.pretrain_patients, wanted.known_populations
            self._known = simulated(self.layout, wanted, patients, seed, populations)
        return self._known

    def _copy(self) -> RecordVAE:
        """The pretrained model, to be changed."""
        assert self._model is not None
        copied = RecordVAE(self.layout, self.settings)
        copied.load_state_dict(self._model.state_dict())
        return copied

    def _ready(self) -> Fitted:
        """What was fitted or loaded; after `pretrain` alone, public knowledge."""
        if self._fitted is None and self._model is not None:
            self._fitted = private_fit.prior(self._copy(), self._public(), self.settings, self._pretrain_seed)
        if self._fitted is None:
            raise WorkspaceError("the EHR generator has no model yet: fit or load it first")
        return self._fitted


if TYPE_CHECKING:
    from synthgen.generator import Generator

    def _is_a_generator(dictionary: Dictionary) -> Generator:
        return EHRVAE(dictionary, {})
