"""Who carries out the jobs of a study: worker processes on this machine."""
