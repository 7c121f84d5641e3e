-- The same posts counted twice: by where each of them ended, and by the source that they are of.
{{ config(meta={'dagster': {'ref': {'name': 'funnel_daily'}}}) }}

with ended as (
    select
        platform,
        sum(posts) as posts
    from {{ ref('funnel_daily') }}
    group by all
),

landed as (
    select
        platform,
        sum(posts) as posts
    from {{ ref('source_quality') }}
    where posts > 0
    group by all
)

select *
from ended
full join landed using (platform)
where ended.posts is distinct from landed.posts
