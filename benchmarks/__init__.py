"""How fast, how good, how large? Each module prints a table and writes it to `benchmarks/results`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the worker does; read when torch is loaded
