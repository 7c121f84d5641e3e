-- Leads of posts that all gates still pass and that were read so: one that an earlier table has since turned away,
-- because it was re-materialised first or the post was deleted, counts nowhere.
{{ config(materialized='ephemeral') }}

select leads.*
from {{ source('lake', 'leads') }} as leads
semi join {{ ref('read_posts') }} as posts
    on
        posts.campaign_id = leads.campaign_id
        and posts.day = leads.day
        and posts.fullname = leads.fullname
        and posts.status = 'ok'
