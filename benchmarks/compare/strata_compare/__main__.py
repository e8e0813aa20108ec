"""`python -m strata_compare`, which `benchmarks/compare/run` calls."""

from .command import main

main()
