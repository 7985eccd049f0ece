"""Is a synthetic picture like a real one, of use, and no copy? One check a file."""
