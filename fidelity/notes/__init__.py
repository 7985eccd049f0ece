"""Are synthetic notes true to their record, like real ones, and of use? One check a file."""
