"""Rule packs: clinical rules that apply to any cohort whose columns carry the codes they speak of.

A pack is a YAML file. It names its columns once, by code and unit, and its rules use these names:

    columns:
      albumin: {codes: [LOINC:1751-7], units: {g/dL: 1, g/L: 0.1}}
      sex: {codes: [LOINC:46098-0], words: {female: [f, F], male: [m, M]}}
    rules:
      - {name: albumin_compatible_with_life, expression: albumin > 0.6, severity: severe, text: ...}

To bind a pack is to write its rules in a dictionary's own names and units (a factor where the units differ). A rule one of
whose columns the cohort does not have is not applicable, and reported as that.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from privacy.errors import ConfigError
from synthgen.dictionary import Entry, Rule, Word, parse, read_yaml
from synthgen.rules import FUNCTIONS, names_in, words_in

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary

SHIPPED = Path(__file__).resolve().parent.parent / "configs" / "rules"


class PackColumn(Entry):
    """What a pack means by one of its names."""

    codes: tuple[str, ...] = ()
    """LOINC:..., HP:..., ...; any of them is this column."""
    role: str | None = None
    """Or the column with this role (`code` and `dose` of an event)."""
    units: dict[str, float] = Field(default={})
    """Unit of the dictionary's column -> factor to the pack's own unit; a column in another unit is not this one."""
    words: dict[Word, tuple[Word, ...]] = Field(default={})
    """The pack's word for a category -> how dictionaries may spell it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.codes and not self.role:
            raise ValueError("a pack's column needs codes or a role")
        return self

    def is_(self, column: Column) -> bool:
        """Whether a dictionary's column is the one that the pack speaks of."""
        known = column.code in self.codes if self.codes else column.role == self.role
        return known and (not self.units or column.unit in self.units)


class RulePack(Entry):
    """A file of rules and what they speak of."""

    name: str
    """As dictionaries name it: the file's name without ending."""
    title: str
    """What it holds, in words."""
    columns: dict[str, PackColumn]
    """The names that its rules use."""
    rules: tuple[Rule, ...]
    """The rules."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for rule in self.rules:
            if unknown := sorted(names_in(rule) - set(self.columns) - {"day"}):
                raise ValueError(f"rule {rule.name}: {unknown[0]} is no column of the pack")
        return self


@dataclass(frozen=True)
class Bound:
    """A pack's rule in a dictionary: `rule` in the dictionary's names, or None and `why` it is not applicable."""

    pack: str
    name: str
    rule: Rule | None
    why: str = ""


def read_pack(name: str, folder: Path | None = None) -> RulePack:
    """The pack of that name: beside the dictionary, in a folder `rules` there or one above, or one that ships with synthgen.

    Raises:
        ConfigError: when it is nowhere, or for a fault in it.
    """
    places = [] if folder is None else [folder, folder / "rules", folder.parent / "rules"]
    for place in [*places, SHIPPED]:
        path = place / f"{name}.yaml"
        if "/" not in name and path.is_file():
            return parse(RulePack, read_yaml(path), str(path))
    shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml"))) or "none"
    raise ConfigError(
        f"rule_packs: there is no pack {name}; write {name}.yaml beside the dictionary (shipped: {shipped})"
    )


def bind(pack: RulePack, dictionary: Dictionary) -> list[Bound]:
    """Each rule of a pack in the dictionary's names and units."""
    return [_bound(pack, rule, dictionary) for rule in pack.rules]


def with_packs(dictionary: Dictionary, folder: Path | None = None) -> Dictionary:
    """The dictionary with the applicable rules of its packs among its own; one that has them already stays as it is."""
    known = {rule.name for rule in dictionary.rules}
    bound = [b for name in dictionary.rule_packs for b in bind(read_pack(name, folder), dictionary)]
    new = tuple(b.rule for b in bound if b.rule is not None and b.rule.name not in known)
    return dictionary.model_copy(update={"rules": dictionary.rules + new}) if new else dictionary


def _bound(pack: RulePack, rule: Rule, dictionary: Dictionary) -> Bound:
    if rule.table not in dictionary.tables:
        return Bound(pack.name, rule.name, None, f"the cohort has no table {rule.table}")
    scope = dictionary.tables["patients"].columns | dictionary.tables[rule.table].columns
    replaced: dict[str, ast.expr] = {"day": ast.Name("day")}
    spelled: dict[str, str] = {}
    found_in = False  # its table, and not patients alone
    for name in sorted(names_in(rule) - {"day"}):
        spec = pack.columns[name]
        found = next(((key, column) for key, column in scope.items() if spec.is_(column)), None)
        if found is None:
            return Bound(pack.name, rule.name, None, f"no column {_described(name, spec)}")
        key, column = found
        found_in |= key in dictionary.tables[rule.table].columns
        replaced[name] = _scaled(key, spec.units.get(column.unit or "", 1.0))
        spelled |= {w: next((s for s in (w, *o) if s in (column.categories or ())), "") for w, o in spec.words.items()}
    if rule.table != "patients" and not found_in:
        return Bound(pack.name, rule.name, None, f"{rule.table} has none of its columns")
    for word in words_in(rule):
        if not spelled.get(word, word):
            return Bound(pack.name, rule.name, None, f"no category means {word}")
    tree = _Renamed(replaced, spelled).visit(ast.parse(rule.expression, mode="eval"))
    written = ast.unparse(ast.fix_missing_locations(tree)).replace("'", '"')
    return Bound(
        pack.name, rule.name, rule.model_copy(update={"name": f"{pack.name}/{rule.name}", "expression": written})
    )


def _described(name: str, spec: PackColumn) -> str:
    unit = f" in {' or '.join(spec.units)}" if spec.units else ""
    return f"{name} ({', '.join(spec.codes) or f'role {spec.role}'}){unit}"


def _scaled(name: str, factor: float) -> ast.expr:
    column = ast.Name(name)
    return column if factor == 1 else ast.BinOp(ast.Constant(factor), ast.Mult(), column)


class _Renamed(ast.NodeTransformer):
    """Names and words of a pack -> those of a dictionary."""

    def __init__(self, names: dict[str, ast.expr], words: dict[str, str]) -> None:
        self.names, self.words = names, words

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return node if node.id in FUNCTIONS else self.names[node.id]

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(self.words.get(node.value, node.value)) if isinstance(node.value, str) else node
