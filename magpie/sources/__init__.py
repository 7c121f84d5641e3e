"""Readers and clients of raw formats: one module per format or wire protocol, no product rules."""
