-- Picks that hold, of the version that counts.
{{ config(materialized='ephemeral') }}

select *
from {{ source('lake', 'stock_mentions') }}
where status = 'ok' and is_active
