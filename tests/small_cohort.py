"""A hand-worked cohort of four patients, as a folder: what the tests of reading and refusing start from."""

from __future__ import annotations

from pathlib import Path

DICTIONARY = """\
name: small
title: Four invented patients
declared_patients: 4
outcome: {time: followup_days, status: status, censored: alive}
tasks:
  - {name: death_1y, event: [dead], horizon_days: 365}
rules:
  - {name: within, expression: day <= followup_days, severity: hard, text: Nothing after the end.}
tables:
  patients:
    columns:
      patient_id: {type: id}
      age: {type: continuous, bounds: [18, 95], decimals: 1, source: years_old}
      sex: {type: categorical, categories: [f, m], recode: {female: f, male: m}}
      followup_days: {type: integer, bounds: [0, 4000]}
      status: {type: categorical, categories: [alive, dead]}
  visits:
    columns:
      patient_id: {type: id}
      day: {type: integer, bounds: [0, 4000], source: years, multiply: 365.25}
      bilirubin: {type: continuous, bounds: [0.05, 80], scale: log, missing: true}
      stage: {type: ordinal, categories: [1, 2, 3]}
      ascites: {type: categorical, categories: [no, yes], missing: true}
  events:
    ignore: [ward]
    columns:
      patient_id: {type: id}
      day: {type: integer, bounds: [0, 4000]}
      code: {type: categorical, categories: [ursodiol, biopsy], role: code}
      stop: {type: integer, bounds: [0, 4000], role: stop, missing: true}
      dose: {type: continuous, bounds: [0, 5000], role: dose, missing: true}
  notes:
    columns:
      patient_id: {type: id}
      day: {type: integer, bounds: [0, 4000]}
      text: {type: text}
"""

PATIENTS = """\
patient_id,years_old,sex,followup_days,status
QA17,34.5,female,800,alive
QB28,61.25,m,400,dead
QC39,47.2,female,730,alive
QD40,29.9,f,365,dead
"""

VISITS = """\
patient_id,years,bilirubin,stage,ascites
QB28,0,2.4,2,yes
QB28,0.5,3.1,2,
QA17,0.0,0.9,1,no
QA17,1,1.1,1,NA
QA17,2,,2,no
QC39,0,14.2,3,yes
QD40,0,0.7,1,no
"""

EVENTS = """\
patient_id,day,code,stop,dose,ward
QA17,10,ursodiol,300,750,7B
QA17,5,biopsy,,,7B
QB28,0,ursodiol,400,500,2A
"""

NOTES = """\
patient_id,day,text
QA17,0,"Tired, itching.
No ""red flags""."
QB28,100,=SUM(A1) is not a formula here
"""

IDS = ("QA17", "QB28", "QC39", "QD40")

FILES = {
    "cohort.yaml": DICTIONARY,
    "patients.csv": PATIENTS,
    "visits.csv": VISITS,
    "events.csv": EVENTS,
    "notes.csv": NOTES,
}


def make(folder: Path) -> Path:
    """The cohort's folder."""
    folder.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Everything in it, to see that nothing was touched."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
