-- Posts of which a human has said what becomes of them, by the rules of magpie/persona/labels.py, and the estimate that
-- they had before. A decision that the rules made by themselves is no verdict.
{{ config(materialized='ephemeral') }}

with attempts as (
    select
        *,
        attempt < max(attempt) over (partition by blog, input_id) as is_followed
    from {{ source('lake', 'decisions') }}
),

verdicts as (
    select
        blog,
        outbox_id,
        arg_max(action, ("at", review_id)) as verdict
    from {{ source('lake', 'persona_reviews') }}
    -- Who edits has not decided yet; who holds a post takes back what was decided.
    where action in ('approve', 'redo', 'reject', 'hold')
    group by all
),

judged as (
    select
        attempts.blog,
        attempts.day,
        attempts.kind,
        posts.outbox_id,
        posts.edited,
        attempts.route,
        attempts.route_reason,
        attempts.trace ->> '$.autoreview_version' as autoreview_version,
        attempts.autoreview_p,
        case
            when attempts.is_followed or verdicts.verdict in ('redo', 'reject') or posts.state = 'deleted' then true
            when verdicts.verdict = 'approve' then false
            -- Only a human lets a draft out.
            when verdicts.verdict is null and attempts.route = 'draft' and posts.state = 'published' then false
        end as is_turned_down
    from attempts
    inner join {{ source('lake', 'outbox') }} as posts using (blog, day, input_id, attempt)
    left join verdicts using (blog, outbox_id)
    where attempts.status = 'ok' and attempts.route in ('publish', 'queue', 'draft')
)

select *
from judged
where is_turned_down is not null
