-- Each video once: one whose day of publication became known later has a row in that day too, and it counts.
{{ config(materialized='ephemeral') }}

select *
from {{ source('lake', 'videos') }}
qualify row_number() over (partition by video_id order by date_precision = 'unknown', day desc, channel_id) = 1
