"""The assets of every product, one module each: wiring of inputs, one domain function, outputs.

Belongs here: which table depends on which, partitions, metadata, checks. Does not belong here: rules (`magpie/`).
"""

import warnings

import dagster as dg

# Partition mappings and backfill policies are marked beta in 1.13; the pin in pyproject.toml and the tests of ranges
# answer for them, and a page of warnings per process would bury what matters. Remove when they are stable.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
