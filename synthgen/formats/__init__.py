"""One format a file, each with `read(path)` and `write(path, frame, origin)`."""
