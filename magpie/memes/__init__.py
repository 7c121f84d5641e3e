"""Memes: posts of channels and uploads, de-duplicated, described, moderated, rated and recommended."""
