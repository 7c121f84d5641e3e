"""The providers: the only modules that import a provider's SDK."""
