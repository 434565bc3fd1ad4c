"""Everything that a run found, in one folder that survives a kill and that several processes may share."""
