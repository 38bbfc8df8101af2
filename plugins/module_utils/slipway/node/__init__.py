"""What runs on the machines themselves, which have Python's standard library and nothing else."""
