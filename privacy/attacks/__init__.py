"""Attacks on what was released. One attack a file: arrays in, a frozen result out; nothing here knows of cohorts."""
