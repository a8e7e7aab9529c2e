"""What a schedule is: tables, artefacts, compilers and the registry. Numpy only, save `probe` and `search`.

table, grids, noise      the sampler as a matrix; noise levels; what a noise level means to a network
compile                  (solver, sigmas) -> table
artefact, evidence       the stored form, strictly checked
registry, shipped        all artefacts at hand
export                   artefact -> other programs' conventions
probe                    stock diffusers scheduler -> table (torch)
search                   finding better sigmas (torch)
"""
