-- The ledger's rows with what marts count: attempts that went out, and attempts that brought nothing.
{{ config(materialized='ephemeral') }}

select
    *,
    provider || '/' || model_asked as model,
    kind = 'hit' as is_hit,
    -- A void call went out only if it has a time from sending to settling.
    kind = 'call'
    and (state in ('sent', 'settled', 'unknown', 'lost') or (state = 'voided' and latency_ms is not null)) as was_sent,
    kind = 'call' and error_class is not null as has_failed
from {{ source('lake', 'llm_calls') }}
