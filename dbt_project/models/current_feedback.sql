-- The last that was said of each post; an event that does not speak of workflow or label leaves it as it was.
{{ config(materialized='ephemeral') }}

select
    campaign_id,
    fullname,
    arg_max(workflow, ("at", event_id)) as workflow,
    arg_max(label, ("at", event_id)) as label,
    arg_max_null(reason, ("at", event_id)) as feedback_reason,
    arg_max_null(actor, ("at", event_id)) as feedback_actor,
    max("at") as feedback_at
from {{ source('lake', 'lead_feedback') }}
group by all
