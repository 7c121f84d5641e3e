-- The gates in their order, as magpie/leads/gates.py declares them; `scored` gates are logged by ranked_posts.
{{ config(materialized='ephemeral') }}

select
    gate::varchar as gate,
    reason::varchar as reason,
    stage::varchar as stage,
    position::integer as position,
    stage <> 'metadata' as scored
from (
    values
    ('0a', 'removed', 'metadata', 1),
    ('0b', 'excluded_subreddit', 'metadata', 2),
    ('0c', 'excluded_author', 'metadata', 3),
    ('0d', 'excluded_term', 'metadata', 4),
    ('1', 'duplicate', 'metadata', 5),
    ('2', 'too_old', 'metadata', 6),
    ('3', 'low_upvote_ratio', 'metadata', 7),
    ('4', 'nsfw', 'metadata', 8),
    ('5', 'small_subreddit', 'metadata', 9),
    ('6', 'low_activity', 'metadata', 10),
    ('6r', 'low_activity', 'metadata', 11),
    ('7', 'low_karma', 'metadata', 12),
    ('8', 'low_cosine', 'cosine', 13),
    ('9', 'low_engagement', 'heuristic', 14),
    ('10', 'no_keyword', 'heuristic', 15),
    ('11', 'low_fused', 'heuristic', 16)
) as listed (gate, reason, stage, position)
