"""Notes as text about a record: facts of a day, notes rendered from them, claims read back out of a note, and noise on it."""
