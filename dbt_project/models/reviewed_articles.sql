-- Articles that are written, with the state that people gave them and the pictures that go with them.
{{ config(materialized='ephemeral') }}

with pictures as (
    select
        images.article_id,
        count(*) filter (
            images.status = 'ok'
            and images.path is not null
            and coalesce(states.state, 'draft') <> 'declined'
            and not coalesce(states.disabled, false)
        ) as images,
        count(*) filter (images.status <> 'ok') as images_missing
    from {{ source('lake', 'article_images') }} as images
    left join {{ ref('content_states') }} as states
        on
            states.object_type = 'image'
            and states.object_id = images.article_id || '/' || images.image_type || '/' || images.position
    group by all
)

select
    articles.*,
    coalesce(states.state, 'draft') as state,
    coalesce(states.disabled, false) as disabled,
    states.decided_at,
    states.decided_by,
    states.published_url,
    coalesce(pictures.images, 0) as images,
    coalesce(pictures.images_missing, 0) as images_missing
from {{ source('lake', 'articles') }} as articles
left join {{ ref('content_states') }} as states
    on states.object_type = 'article' and states.object_id = articles.article_id
left join pictures
    on pictures.article_id = articles.article_id
where articles.status = 'ok'
