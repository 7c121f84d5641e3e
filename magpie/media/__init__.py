"""Pictures and videos: opening, hashing, marking. Knows no product."""
