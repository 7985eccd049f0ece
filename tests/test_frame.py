"""The house itself: floors, public surface, cheap imports, documented commands and keys."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

HEAVY = ("torch", "opacus", "pandas", "sklearn", "matplotlib", "pyro", "sqlalchemy", "dp_accounting", "scipy")


def modules_after(code: str) -> set[str]:
    """The top-level modules that running `code` in a fresh interpreter has imported."""
    probe = f"import sys\n{code}\nprint('\\n'.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import synthgen",
        "import synthgen.cli",
        "import sys; sys.argv = ['synthgen', '--help']\nfrom synthgen.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
)
def test_importing_the_package_and_its_help_load_nothing_heavy(code: str):
    assert not modules_after(code) & set(HEAVY)


def test_the_public_surface_is_what_it_says():
    import synthgen

    assert sorted(synthgen.__all__) == synthgen.__all__
    for name in synthgen.__all__:
        assert getattr(synthgen, name).__name__ == name
    for name in synthgen.__all__:  # importing a submodule must not have put another thing in its place
        assert getattr(synthgen, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = synthgen.nonsense


def test_privacy_is_the_ground_floor_and_plug_ins_never_import_each_other():
    done = subprocess.run([sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
                          capture_output=True, text=True, check=False, cwd=ROOT)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_exists_and_has_help(cli):
    from synthgen.cli import COMMANDS

    for name in COMMANDS:
        code, out, _ = cli(name, "--help")
        assert code == 0
        assert "--json" in out


def test_the_documentation_made_from_the_code_is_up_to_date():
    """Every command, configuration key and check stands in the docs: `make docs` writes these pages."""
    done = subprocess.run(
        [sys.executable, "-c", "import generate; [print(p) for p, f in generate.PAGES.items()"
         " if (generate.HERE / p).read_text() != f()]"],
        capture_output=True, text=True, check=True, cwd=ROOT / "docs",
    )  # fmt: skip
    assert done.stdout.split() == []


def test_every_key_and_check_says_what_it_is_for():
    from synthgen import config, dictionary
    from synthgen.plugins import checks, generator_class

    settings = [sys.modules[generator_class(n).__module__].Settings for n in ("ehr", "phenotypes")]
    models = [m for m in vars(dictionary).values() if isinstance(m, type) and issubclass(m, dictionary.Entry)]
    silent = [f"{m.__module__}.{m.__name__}.{k}" for m in (config.Job, config.Privacy, *models, *settings)
              for k, f in m.model_fields.items() if not f.description]  # fmt: skip
    assert silent == []
    assert [c.name for c in checks() if not type(c).__doc__] == []


def test_every_exception_stands_in_the_drawing_of_the_tree():
    from privacy import errors

    drawn = errors.__doc__ or ""
    assert all(name in drawn for name, e in vars(errors).items() if isinstance(e, type) and issubclass(e, Exception))


def test_nothing_is_called_utils_helpers_or_manager():
    names = [p.stem for room in ("synthgen", "generators", "privacy", "fidelity") for p in (ROOT / room).rglob("*.py")]
    assert not {"utils", "util", "helpers", "helper", "manager", "common", "misc"} & set(names)
