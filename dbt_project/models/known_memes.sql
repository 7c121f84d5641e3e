-- Each meme once: a post that its platform dated anew may have a row in both days, and the later counts.
{{ config(materialized='ephemeral') }}

select *
from {{ source('lake', 'meme_status') }}
qualify row_number() over (partition by meme_id order by day desc, platform) = 1
