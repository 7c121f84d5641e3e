with logs as (
    select
        campaign_id,
        day,
        false as scored,
        gate_log
    from {{ ref('matched_posts') }}
    union all
    select
        campaign_id,
        day,
        true as scored,
        gate_log
    from {{ ref('scored_posts') }}
),

-- A pending row was not put to any gate: its log is empty.
stopped as (
    select
        logs.campaign_id,
        logs.day,
        logs.scored,
        gates.position as stopped_at,
        count(*) as n
    from logs
    left join {{ ref('gates') }} as gates
        on gates.gate = [entry.gate for entry in logs.gate_log if entry.outcome = 'reject'][1]
    where len(logs.gate_log) > 0
    group by all
),

entries as (
    select
        campaign_id,
        day,
        unnest(gate_log) as entry
    from logs
),

outcomes as (
    select
        campaign_id,
        day,
        entry.gate as gate,
        count(*) as rows_logged,
        count(*) filter (entry.outcome = 'reject') as would_reject,
        count(*) filter (entry.outcome = 'not_applicable') as n_not_applicable
    from entries
    group by all
),

-- Every gate of every day that has a match, so that a gate nobody reached reads 0 and is not missing.
grid as (
    select
        days.campaign_id,
        days.day,
        gates.*
    from (select distinct campaign_id, day from {{ ref('matched_posts') }}) as days
    cross join {{ ref('gates') }} as gates
),

counted as (
    select
        grid.campaign_id,
        grid.day,
        grid.gate,
        grid.reason,
        grid.stage,
        grid.position,
        coalesce(sum(stopped.n) filter (coalesce(stopped.stopped_at, grid.position) >= grid.position), 0)::bigint
            as rows_in,
        coalesce(sum(stopped.n) filter (stopped.stopped_at = grid.position), 0)::bigint as rejected
    from grid
    left join stopped
        on
            stopped.campaign_id = grid.campaign_id
            and stopped.day = grid.day
            and stopped.scored = grid.scored
    group by all
)

select
    counted.campaign_id,
    counted.day,
    counted.gate,
    counted.reason,
    counted.stage,
    counted.position,
    counted.rows_in,
    counted.rejected,
    counted.rejected / nullif(counted.rows_in, 0) as kill_rate,
    coalesce(outcomes.rows_logged, 0) as rows_logged,
    coalesce(outcomes.would_reject, 0) as would_reject,
    coalesce(outcomes.n_not_applicable, 0) as n_not_applicable
from counted
left join outcomes
    on
        outcomes.campaign_id = counted.campaign_id
        and outcomes.day = counted.day
        and outcomes.gate = counted.gate
order by counted.campaign_id, counted.day, counted.position
