"""Floor 0: the one door to real patients, what it cost, and the attacks that test it. Knows no cohorts."""
