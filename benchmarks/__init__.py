"""How fast and how good is it? Each module prints a table and writes a .csv and a .png to benchmarks/results."""
