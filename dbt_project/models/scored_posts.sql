-- Scored posts that gates 0-7 still pass: a row of ranked_posts that campaign_posts has since turned away, because
-- it was re-materialised first or the post was deleted, counts nowhere.
{{ config(materialized='ephemeral') }}

select ranked.*
from {{ source('lake', 'ranked_posts') }} as ranked
semi join {{ ref('matched_posts') }} as matched
    on
        matched.campaign_id = ranked.campaign_id
        and matched.day = ranked.day
        and matched.fullname = ranked.fullname
        and matched.status = 'ok'
