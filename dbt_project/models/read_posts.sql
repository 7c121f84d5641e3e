-- What extraction made of the posts that are candidates still; a candidate it has no row for was not read yet.
{{ config(materialized='ephemeral') }}

select extractions.*
from {{ source('lake', 'lead_extractions') }} as extractions
semi join {{ ref('scored_posts') }} as scored
    on
        scored.campaign_id = extractions.campaign_id
        and scored.day = extractions.day
        and scored.fullname = extractions.fullname
        and scored.status in ('ok', 'pending')
where extractions.reason is distinct from 'deleted'
