"""`magpie run` and `magpie ui` on Dagster: what makes the layers of every product in one go."""
