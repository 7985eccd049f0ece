"""Are synthetic phenotypes like the patients'? One check a file; terms are compared closed over the ontology."""

from fidelity.phenotypes.profiles import Profiles, profiles_of

__all__ = ["Profiles", "profiles_of"]
