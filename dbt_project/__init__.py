"""The marts: a dbt project over the lake, and the code location that builds it.

Belongs here: SQL models, what generates their sources, and the wiring that runs dbt. Does not belong here: rules of a
product (`magpie/`) and the assets the marts read (`assets/`). It is a code location of its own because importing dbt
costs every process seconds.
"""
