"""Phenotypes and variants of patients with Mendelian diseases, with HPO's annotations as prior."""

from generators.phenotypes.generator import PhenotypeBayes

__all__ = ["PhenotypeBayes"]
