"""Records in the model's units -> the tables of a synthetic cohort."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from generators.ehr.calibration import Calibration
from generators.ehr.encoding import Records, from_unit
from generators.ehr.layout import Layout
from synthgen.dictionary import Column
from synthgen.values import from_scale, table


def tables(records: Records, calibration: Calibration, layout: Layout, ids: NDArray[Any]) -> dict[str, pd.DataFrame]:
    """`patients`, and `visits` and `events` where the dictionary has them."""
    dictionary = layout.dictionary
    values: dict[str, NDArray[Any]] = {"patient_id": ids}
    values |= _numbers(records["static_x"], "static_x", layout.static_numeric, calibration, layout)
    values |= _categories(records["static_c"], layout.static_discrete)
    if dictionary.outcome:
        status = dictionary.tables["patients"].columns[dictionary.outcome.status]
        names = [cause or dictionary.outcome.censored for cause in layout.causes]
        place = np.array([(status.categories or ()).index(name) for name in names])
        values[dictionary.outcome.time] = records["end_day"].double().numpy()
        values[dictionary.outcome.status] = place[records["cause"].numpy()]
    out = {"patients": table(dictionary.tables["patients"].columns, values, len(ids))}
    if layout.has_visits:
        out["visits"] = _visits(records, calibration, layout, ids)
    if layout.code:
        out["events"] = _events(records, calibration, layout, ids)
    return out


def _numbers(
    values: Tensor, field: str, columns: dict[str, Column], calibration: Calibration, layout: Layout
) -> dict[str, NDArray[Any]]:
    unit = calibration.undo(field, values, layout).double().numpy()
    return {n: from_scale(c, from_unit(c, unit[:, j])) for j, (n, c) in enumerate(columns.items())}


def _categories(codes: Tensor, columns: dict[str, Column]) -> dict[str, NDArray[Any]]:
    return {n: codes[:, j].numpy() for j, n in enumerate(columns)}


def _visits(records: Records, calibration: Calibration, layout: Layout, ids: NDArray[Any]) -> pd.DataFrame:
    patient, visit = torch.nonzero(records["seen"] > 0, as_tuple=True)
    values: dict[str, NDArray[Any]] = {
        "patient_id": ids[patient.numpy()],
        "day": records["day"][patient, visit].double().numpy(),
    }
    values |= _numbers(records["x"][patient, visit], "x", layout.numeric, calibration, layout)
    values |= _categories(records["ordered"][patient, visit], layout.ordered)
    values |= _categories(records["nominal"][patient, visit], layout.nominal)
    return table(layout.dictionary.tables["visits"].columns, values, len(patient))


def _events(records: Records, calibration: Calibration, layout: Layout, ids: NDArray[Any]) -> pd.DataFrame:
    patient = records["event_patient"].numpy()
    values: dict[str, NDArray[Any]] = {
        "patient_id": ids[patient],
        "day": records["event_day"].double().numpy(),
        str(layout.code): records["event_code"].numpy(),
    }
    if layout.stop:
        values[layout.stop] = records["event_stop"].double().numpy()
    values |= _numbers(records["event_x"], "event_x", layout.event_numeric, calibration, layout)
    values |= _categories(records["event_c"], layout.event_discrete)
    return table(layout.dictionary.tables["events"].columns, values, len(patient))
