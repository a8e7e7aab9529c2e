"""What a schedule is: tables, artefacts, compilers and the registry. Numpy only, save `probe` and `search`."""
