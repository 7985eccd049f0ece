"""Replay and coupling: did the model come through the one door, and does each patient's row hang on that patient alone?

*Replay*: from the recorded noisy sums alone, without any patient, the fit must make the same model. *Coupling*: when half the
patients leave, no other patient's record or statistic may change. All patients are compared, in random blocks of which half
leaves, in the first question of each charge and in one more that is drawn after training: what couples any two of a block in
a share s of the questions escapes with probability 1 - s at most.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from privacy.charges import Charge
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session, Statistic
from synthgen.findings import Finding, Verdict

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.generator import Generator, Progress
    from synthgen.workspace import Run


HELD = 2**22
"""Numbers of a statistic that are compared at a time, so that gradients of a large model take no more memory than a moment."""
BLOCK = 128
"""Patients who are compared at a time, at most twice as many."""
SAME = 1e-4
"""Relative difference that rounding in another order of sums may make."""


def replay(run: Run, name: str, train: Cohort, progress: Progress = lambda *_: None) -> list[Finding]:
    """Fits a generator again from its recorded answers, first one that never met a patient, on one blank row: is it the same
    model? Then with the patients, to compare every statistic on the way with the same after half of them have left."""
    from synthgen.plugins import generator_class
    from synthgen.randomness import child_seed

    def made() -> Generator:
        fresh = generator_class(name)(run.dictionary, run.job.generators[name])
        fresh.pretrain(seed, run.workspace.cache, progress)
        return fresh

    def fitted(model: Generator, records: dict[str, Tensor]) -> tuple[Witness, int, list[str], int]:
        with tempfile.TemporaryDirectory() as folder:
            answers, saved = Path(folder, "answers"), Path(folder, "model")
            shutil.copytree(run.folder / "answers" / name, answers)
            saved.mkdir()
            journal = Journal(answers, from_start=True)
            recorded, dropped = len(journal), journal.dropped
            witness = Witness(records, run.plan.charges_of(model.modality), run.plan.declared_training, journal)
            model.fit(witness, seed, progress)
            model.save(saved)
            return witness, len(journal) - recorded, _differing(run.folder / "models" / name, saved), dropped

    seed = child_seed(run.job.seed, "train")
    model = made()
    records = model.encode(train)
    blank = {k: torch.zeros((1, *v.shape[1:]), dtype=v.dtype) for k, v in records.items()}
    _, asked, differing, dropped = fitted(made(), blank)
    findings = [_replayed(name, asked, differing, dropped)]
    if findings[0].verdict != "fail":
        witness, *_ = fitted(model, records)
        findings.append(_coupled(name, _changed_rows(model, train, records), witness, dropped))
    return findings


class Witness(Session):
    """A session that notes every charge in whose statistic a patient's row depends on who else is there."""

    def __init__(
        self, records: Mapping[str, Tensor], charges: Sequence[Charge], declared_patients: int, journal: Journal
    ) -> None:
        super().__init__(records, charges, declared_patients, Noise(), journal)
        chance = secrets.SystemRandom()  # not the run's seed: a generator could know which question is looked at
        self._looked_at = {c.name: {0, chance.randrange(c.steps)} for c in charges}
        self._order = torch.tensor(chance.sample(range(self.patients), self.patients))
        self.seen: set[str] = set()
        self.coupled: list[str] = []

    @property
    def patients(self) -> int:
        return len(next(iter(self._records.values())))

    @property
    def charges(self) -> set[str]:
        return set(self._charges)

    def _answer(self, statistic: Statistic, length: int, clip_norm: float, name: str) -> Tensor:
        if self._asked[name] in self._looked_at.get(name, ()) and self.patients > 1:
            self.seen.add(name)
            if name not in self.coupled and not self._uncoupled(statistic, length):
                self.coupled.append(name)
        return super()._answer(statistic, length, clip_norm, name)

    def _uncoupled(self, statistic: Statistic, length: int) -> bool:
        """Whether the rows of half the patients of every block stay as they were when the other half has left."""
        size = max(2, min(BLOCK, HELD // max(1, length)))
        return all(
            _stays(statistic, {k: v[block.to(v.device)] for k, v in self._records.items()})
            for block in torch.tensor_split(self._order, max(1, self.patients // size))
        )


def _stays(statistic: Statistic, records: Mapping[str, Tensor]) -> bool:
    def rows(kept: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return statistic({k: v[kept.to(v.device)] for k, v in records.items()}).detach().flatten(1).double()

    everybody = torch.arange(len(next(iter(records.values()))))
    whole = rows(everybody)
    near = SAME * float(whole.abs().mean())
    return all(
        torch.allclose(rows(half), whole[half], rtol=SAME, atol=near, equal_nan=True) for half in _halves(everybody)
    )


def _changed_rows(model: Generator, train: Cohort, records: Mapping[str, Tensor]) -> bool:
    """Whether the encoding of half the patients changes when the other half has left."""
    ids = list(train.ids)
    for half in _halves(torch.arange(len(ids))):
        fewer = model.encode(train.of(ids[i] for i in half))
        if any(
            fewer[k].shape[1:] != v.shape[1:] or not torch.allclose(fewer[k], v[half], rtol=SAME, equal_nan=True)
            for k, v in records.items()
        ):
            return True
    return False


def _halves(everybody: Tensor) -> tuple[Tensor, Tensor]:
    return everybody[::2], everybody[1::2]


def _differing(run: Path, again: Path) -> list[str]:
    """Model files that are not the same numbers."""
    names = {str(p.relative_to(f)) for f in (run, again) for p in f.rglob("*") if p.is_file()}
    return sorted(n for n in names if not _same(run / n, again / n))


def _same(one: Path, other: Path) -> bool:
    if not (one.exists() and other.exists()):
        return False
    if one.read_bytes() == other.read_bytes():
        return True
    if one.suffix == ".safetensors":
        from safetensors.torch import load_file

        return _alike(load_file(one), load_file(other))
    return one.suffix == ".json" and bool(json.loads(one.read_text()) == json.loads(other.read_text()))


def _alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        a.shape == other[k].shape
        and torch.allclose(a.double(), other[k].double(), rtol=SAME, atol=SAME, equal_nan=True)
        for k, a in one.items()
    )


def _replayed(name: str, asked: int, differing: list[str], dropped: int = 0) -> Finding:
    """`dropped` answers lie behind a saved state (`privacy.journal`) and cannot be replayed: what came of them stays untested."""
    good = not asked and not differing
    verdict: Verdict = "fail" if not good else "inconclusive" if dropped else "pass"
    since = f", since the state that was saved after the first {dropped}" if dropped else ""
    text = (
        f"Given only the recorded noisy sums{since}, {name} learns the very model that was sampled."
        if good
        else f"Given only the recorded noisy sums, {name} "
        + (
            f"asks {asked} questions that were never answered. "
            if asked
            else f"makes another model ({', '.join(differing)}). "
        )
        + "Something that no charge paid for went into it: suspect early stopping or a choice made on real patients."
    )
    return Finding("replay", "same_model", float(good), verdict, text, "audit", column=name)


def _coupled(name: str, changed: bool, witness: Witness, dropped: int = 0) -> Finding:
    """Charges whose answers all lie behind a saved state (`dropped`) were not looked at: then nobody can tell."""
    good = not changed and not witness.coupled
    unseen = sorted(witness.charges - witness.seen) if dropped else []
    where = "their encoding" if changed else f"what they add to {', '.join(witness.coupled)}"
    text = (
        f"When half the patients leave, no other patient's row changes, neither encoded nor in any sum that {name} asks for: all "
        f"{witness.patients} were compared, in the first question and one more, drawn after training, of each of "
        f"{len(witness.seen)} charges."
        + (f" Not looked at, for their answers were dropped to save space: {', '.join(unseen)}." if unseen else "")
        if good
        else f"When half the patients leave, the others' rows change: {where}. The clip then bounds nobody. Suspect a "
        "vocabulary, bound, bin or scale that was learnt from the data."
    )
    verdict: Verdict = "fail" if not good else "inconclusive" if unseen else "pass"
    return Finding("coupling", "uncoupled", float(good), verdict, text, "audit", n=witness.patients, column=name)
