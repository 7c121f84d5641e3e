"""Videos: captions of finance channels, read for outlook and stock mentions, verified, and held against prices."""
