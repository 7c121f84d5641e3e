"""How an asset's frame becomes partitions of its table, and how it comes back."""
