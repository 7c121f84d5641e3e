"""An author bot for a blog: what it reads, its mood, what it writes, chooses, has checked and hands out."""
