"""The stop words of the product.

Belongs here: the one list, shared by the offline embedder and the BM25 query. Does not belong here: what either
does with it, and stop words of other languages (a word missing here only costs a little precision).
"""

# The list is part of the definition of `offline-hash-1024`: changing a word changes every stored vector and every
# BM25 query, so it changes only together with the model's name. `s` and `t` are what an apostrophe leaves behind.
_WORDS = (
    "a an and are as at be but by do does for from had has have he her his how i if in into is it its just like me my "
    "no not of on or our out s she so t that the their them then there they this to too up us very was we were what "
    "when which who why will with would you your"
)
STOP_WORDS = frozenset(_WORDS.split())
