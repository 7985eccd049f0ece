"""Conditions on static columns: `sex=f`, `age=40..60`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from generators.ehr.calibration import Calibration
from generators.ehr.encoding import Records, from_unit
from generators.ehr.layout import Layout
from synthgen.errors import ConfigError
from synthgen.values import from_scale


def check(where: Mapping[str, str], layout: Layout) -> None:
    """Raises ConfigError for a column that is not static, a category that does not exist, or an impossible range."""
    for name, wanted in where.items():
        if name in layout.static_discrete:
            categories = layout.static_discrete[name].categories or ()
            if str(wanted) not in categories:
                raise ConfigError(f"where: {name} has no such category; it has {', '.join(categories)}")
        elif name in layout.static_numeric:
            _range(name, str(wanted), layout)
        else:
            known = ", ".join([*layout.static_discrete, *layout.static_numeric]) or "none"
            raise ConfigError(f"where: {name} is no static column of patients; these are: {known}")


def _range(name: str, wanted: str, layout: Layout) -> tuple[float, float]:
    parts = wanted.split("..")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        raise ConfigError(f"where: {name} needs a number or a range such as 40..60") from None
    bounds = layout.static_numeric[name].bounds or (-np.inf, np.inf)
    if len(parts) > 2 or not low <= high or high < bounds[0] or low > bounds[1]:
        raise ConfigError(f"where: {name} needs a number or a range low..high within {bounds[0]:g} and {bounds[1]:g}")
    return low, high


def met(static: Records, where: Mapping[str, str], calibration: Calibration, layout: Layout) -> Tensor:
    """[patients] which of them meet every condition, as their values will be written."""
    fine = torch.ones(len(static["static_x"]), dtype=torch.bool)
    unit = calibration.undo("static_x", static["static_x"], layout).double().numpy()
    for name, wanted in where.items():
        if name in layout.static_discrete:
            column = layout.static_discrete[name]
            code = (column.categories or ()).index(str(wanted))
            fine &= static["static_c"][:, list(layout.static_discrete).index(name)] == code
        else:
            low, high = _range(name, str(wanted), layout)
            column = layout.static_numeric[name]
            values = from_scale(column, from_unit(column, unit[:, list(layout.static_numeric).index(name)]))
            fine &= torch.from_numpy((values >= low) & (values <= high))
    return fine
