-- What is in the tables has its source listed here, also if nothing else knows that source any more.
with sources as (
    select
        source_id,
        platform
    from {{ source('lake', 'meme_sources') }}
    union
    select
        source_id,
        platform
    from {{ source('lake', 'meme_posts') }}
),

posted as (
    select
        source_id,
        count(*) as posts,
        max(published_at) as last_post_at
    from {{ source('lake', 'meme_posts') }}
    group by all
),

curated as (
    select
        source_id,
        count(*) as kept,
        count(*) filter (ad_flag) as ads
    from {{ source('lake', 'memes') }}
    where status = 'ok'
    group by all
),

judged as (
    select
        source_id,
        count(*) filter (state = 'duplicate') as copies,
        count(*) filter (servable) as servable
    from {{ source('lake', 'meme_status') }}
    group by all
),

rated as (
    select *
    from {{ source('lake', 'source_stats') }}
    qualify row_number() over (partition by source_id order by day desc) = 1
)

select
    sources.source_id,
    sources.platform,
    listed.state,
    listed.snooze_reason,
    listed.language,
    coalesce(posted.posts, 0) as posts,
    coalesce(curated.kept, 0) as kept,
    curated.kept / nullif(posted.posts, 0) as kept_rate,
    coalesce(curated.ads, 0) as ads,
    curated.ads / nullif(curated.kept, 0) as ad_rate,
    coalesce(judged.copies, 0) as copies,
    coalesce(judged.servable, 0) as servable,
    coalesce(rated.nsent_events, 0) as sends,
    coalesce(rated.nlikes, 0) as likes,
    coalesce(rated.ndislikes, 0) as dislikes,
    rated.nlikes / nullif(rated.nlikes + rated.ndislikes, 0) as like_rate,
    posted.last_post_at,
    rated.as_of
from sources
left join {{ source('lake', 'meme_sources') }} as listed
    on listed.source_id = sources.source_id
left join posted
    on posted.source_id = sources.source_id
left join curated
    on curated.source_id = sources.source_id
left join judged
    on judged.source_id = sources.source_id
left join rated
    on rated.source_id = sources.source_id
order by sources.platform, sources.source_id
