"""Audits: the attacks of `privacy.attacks` brought to cohorts, runs and models, their results told as findings and flags.

- `cohorts`: what the synthetic cohort gives away (membership, copies), with `risks` (singling out, linkability, attribute
  inference), `subgroups` (the worst one, k-map), `exposed` (whom an attack leaned on) and `notes` (identifiers, verbatim runs).
  Needs nothing but cohorts: anybody's can be audited.
- `runs`: whether a run kept to its plan (canaries, delta, individual losses), with `replay` (replay and coupling).
- `retraining`: what training again on other patients shows (likelihood, LiRA, RMIA, shadow cohorts, leave-one-out), with
  `one_run` (canary patients, made in `canary_patients`), `note_exposure`, and, below them, `rehearsal` and `parallel`.
"""
