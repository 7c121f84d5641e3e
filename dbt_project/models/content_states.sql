-- What became of each object that somebody decided on, as magpie/content/reviews.py folds it: a decision that was not
-- possible when its turn came changes nothing; of clusters there is only the flag.
{{ config(materialized='ephemeral') }}

with said as (
    select
        object_type,
        object_id,
        list(
            {
                'state': action,
                'at': "at",
                'actor': actor,
                'url': case when action = 'publish' then payload ->> '$.url' end
            } order by "at", event_id
        ) as steps,
        coalesce(
            arg_max(action = 'disable', ("at", event_id)) filter (action in ('disable', 'enable')), false
        ) as disabled
    from {{ source('lake', 'content_reviews') }}
    group by all
),

folded as (
    select
        object_type,
        object_id,
        disabled,
        list_reduce(
            steps,
            lambda held, step: case
                when object_type in ('idea', 'image') and step.state in ('approve', 'decline')
                    then struct_update(step, state := step.state || 'd')
                when object_type <> 'article' then held
                when step.state = 'submit' and held.state in ('draft', 'declined')
                    then struct_update(step, state := 'review')
                when step.state = 'approve' and held.state = 'review'
                    then struct_update(step, state := 'approved')
                when step.state = 'publish' and held.state = 'approved'
                    then struct_update(step, state := 'published')
                when step.state = 'decline' and held.state in ('draft', 'review', 'approved')
                    then struct_update(step, state := 'declined')
                when step.state = 'edit' and held.state in ('draft', 'review')
                    then struct_update(step, state := held.state)
                when step.state = 'edit' and held.state = 'approved'
                    then struct_update(step, state := 'review')
                else held
            end,
            {'state': 'draft', 'at': null, 'actor': null, 'url': null}
        ) as last_step
    from said
)

select
    object_type,
    object_id,
    disabled,
    last_step.state as state,
    last_step."at" as decided_at,
    last_step.actor as decided_by,
    last_step.url as published_url
from folded
