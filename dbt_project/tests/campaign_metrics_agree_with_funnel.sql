-- The same posts counted twice: by distinct fullname, and by the gates they went through.
{{ config(meta={'dagster': {'ref': {'name': 'campaign_metrics'}}}) }}

with ends as (
    select
        campaign_id,
        day,
        sum(rows_in) filter (gate = '0a') as matched,
        sum(rows_in - rejected) filter (gate = '7') as passed_metadata,
        sum(rows_in - rejected) filter (gate = '11') as candidates
    from {{ ref('gate_funnel') }}
    group by all
)

select *
from {{ ref('campaign_metrics') }} as metrics
full join ends using (campaign_id, day)
where
    metrics.matched is distinct from ends.matched
    or metrics.passed_metadata is distinct from ends.passed_metadata
    or metrics.candidates is distinct from ends.candidates
