with newest as (
    select *
    from {{ source('lake', 'meme_stats') }}
    qualify row_number() over (partition by meme_id order by day desc) = 1
)

select
    stats.meme_id,
    memes.platform,
    memes.source_id,
    memes.type,
    memes.language,
    memes.published_at,
    memes.state,
    memes.servable,
    stats.nlikes,
    stats.ndislikes,
    stats.nsent,
    stats.nlikes / nullif(stats.nlikes + stats.ndislikes, 0) as like_rate,
    stats.lr_smoothed,
    stats.n_lr,
    stats.engagement,
    stats.n_es,
    stats.sec_to_react,
    stats.raw_rank,
    stats.invited,
    stats.invited_by_channel,
    stats.as_of
from newest as stats
-- What has become a copy since is counted with its original, and its own last row is history.
inner join {{ ref('known_memes') }} as memes
    on memes.meme_id = stats.meme_id and memes.canonical_id = memes.meme_id
order by stats.lr_smoothed desc, stats.nlikes desc, stats.meme_id
