-- Every idea that has a title, with what was decided since and how far it got. A decision holds from when it is made,
-- though the tables follow with their next run.
{{ config(materialized='ephemeral') }}

select
    ideas.*,
    states.decided_at,
    states.decided_by,
    articles.status as article_status,
    articles.reason as article_reason,
    articles.not_before as article_not_before,
    coalesce(states.state, 'draft') as decision,
    case
        when coalesce(states.disabled, false) or decision = 'declined' then 'turned_down'
        -- These reasons a person's yes overrides, as in magpie/content/reviews.py.
        when
            ideas.status in ('rejected', 'failed')
            and not (
                decision = 'approved'
                and ideas.reason in ('duplicate_topic', 'too_many_ideas', 'declined', 'disabled')
            )
            then 'turned_down'
        when articles.status = 'ok' then 'completed'
        when articles.status = 'rejected' then 'turned_down'
        when decision = 'approved' or (ideas.status = 'ok' and ideas.approval <> 'waiting') then 'queued'
        else 'new'
    end as state
from {{ source('lake', 'content_ideas') }} as ideas
left join {{ ref('content_states') }} as states
    on states.object_type = 'idea' and states.object_id = ideas.idea_id
left join {{ source('lake', 'articles') }} as articles
    on
        articles.site_id = ideas.site_id
        and articles.day = ideas.day
        and articles.article_id = ideas.idea_id
where ideas.title <> ''
