"""All functions that are asked of a model, by name.

Belongs here: the list, and nothing else. Does not belong here: declarations (beside each product's rules).
"""

from magpie.content.cluster_keywords import CLUSTER_KEYWORDS
from magpie.content.generate_article import GENERATE_ARTICLE
from magpie.content.generate_ideas import GENERATE_IDEAS
from magpie.content.image_prompts import IMAGE_PROMPTS_FUNCTION
from magpie.leads.extract_lead import EXTRACT_LEAD
from magpie.llm.spec import Registry
from magpie.memes.describe import MEME_DESCRIBE
from magpie.persona.image_read import IMAGE_READ
from magpie.persona.judge import PERSONA_JUDGE
from magpie.persona.sentiment import PERSONA_SENTIMENT
from magpie.persona.write_post import PERSONA_WRITE
from magpie.videos.reading import ANALYZE_VIDEO, EXTRACT_PICKS, MARKET_OUTLOOK

FUNCTIONS = Registry(
    (
        *(EXTRACT_LEAD, MARKET_OUTLOOK, EXTRACT_PICKS, ANALYZE_VIDEO, MEME_DESCRIBE),
        *(CLUSTER_KEYWORDS, GENERATE_IDEAS, GENERATE_ARTICLE, IMAGE_PROMPTS_FUNCTION),
        *(IMAGE_READ, PERSONA_WRITE, PERSONA_SENTIMENT, PERSONA_JUDGE),
    )
)
