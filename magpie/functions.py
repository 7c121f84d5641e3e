"""All functions that are asked of a model, by name.

Belongs here: the list, and nothing else. Does not belong here: declarations (beside each product's rules).
"""

from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.llm.spec import Registry
from magpie.memes.describe import MEME_DESCRIBE
from magpie.videos.reading import ANALYZE_VIDEO, EXTRACT_PICKS, MARKET_OUTLOOK

FUNCTIONS = Registry((EXTRACT_LEAD, MARKET_OUTLOOK, EXTRACT_PICKS, ANALYZE_VIDEO, MEME_DESCRIBE))
