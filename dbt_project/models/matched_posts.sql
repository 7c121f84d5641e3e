-- Posts that match a keyword of a campaign; tombstones of deleted posts match nothing any more.
{{ config(materialized='ephemeral') }}

select *
from {{ source('lake', 'campaign_posts') }}
where reason is distinct from 'deleted'
