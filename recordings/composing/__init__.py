"""One film of all the tracks: planned in segments while the class goes on, drawn and mixed, encoded, joined."""
