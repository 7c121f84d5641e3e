-- What a gate does not reject reaches the next one. Only between gates 7 and 8 rows may be missing: posts that are
-- pending or not yet scored.
with following as (
    select
        *,
        lag(rows_in - rejected) over (partition by campaign_id, day order by position) as passed_before
    from {{ ref('gate_funnel') }}
)

select *
from following
where
    (gate <> '8' and rows_in <> passed_before)
    or (gate = '8' and rows_in > passed_before)
    or rejected > rows_in
    or rejected > would_reject
