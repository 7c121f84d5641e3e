"""Text rules shared by all products: normalising, tokens, BM25, embeddings. No product rules, no I/O formats."""
