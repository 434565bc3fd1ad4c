"""Studies behind the commands: searches compared on the same draws, and adaptation methods on corrupted images."""
