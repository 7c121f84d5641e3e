with planned as (
    select
        *,
        case state when 'new' then 'proposed' else 'planned' end as stage
    from {{ ref('known_ideas') }} as ideas
    where state in ('new', 'queued')
),

entries as (
    select
        article_id,
        site_id,
        day,
        title,
        content_type,
        content_structure,
        primary_keyword,
        state as stage,
        disabled,
        decided_at,
        decided_by,
        target_word_count,
        word_count,
        quality_score,
        images,
        images_missing,
        published_url
    from {{ ref('reviewed_articles') }}
    union all by name
    select
        idea_id as article_id,
        site_id,
        day,
        title,
        content_type,
        content_structure,
        primary_keyword,
        stage,
        false as disabled,
        decided_at,
        decided_by,
        estimated_word_count as target_word_count,
        0::bigint as images,
        0::bigint as images_missing
    from planned
    anti join {{ ref('reviewed_articles') }} as written
        on written.article_id = planned.idea_id
)

select
    coalesce((decided_at at time zone 'UTC')::date, day) as calendar_day,
    site_id,
    article_id,
    title,
    stage,
    disabled,
    day,
    content_type,
    content_structure,
    primary_keyword,
    target_word_count,
    word_count,
    quality_score,
    images,
    images_missing,
    decided_at,
    decided_by,
    published_url
from entries
order by calendar_day desc, site_id, article_id
