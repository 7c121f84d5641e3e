-- What was asked on a UTC day, summed up by function and model.
{{ config(materialized='ephemeral') }}

with by_class as (
    select
        day,
        product,
        "function",
        model,
        error_class,
        count(*) as failures
    from {{ ref('counted_calls') }}
    where has_failed
    group by all
),

failed as (
    select
        day,
        product,
        "function",
        model,
        sum(failures)::bigint as failures,
        map_from_entries(list({'key': error_class, 'value': failures} order by error_class)) as failures_by_class
    from by_class
    group by all
),

counted as (
    select
        day,
        product,
        "function",
        model,
        count(*) filter (was_sent) as calls,
        count(*) filter (is_hit) as hits,
        coalesce(sum(tokens_in), 0)::bigint as tokens_in,
        coalesce(sum(tokens_out), 0)::bigint as tokens_out,
        sum(cost_usd)::decimal(38, 9) as spent
    from {{ ref('counted_calls') }}
    group by all
)

select
    counted.day,
    counted.product,
    counted."function",
    counted.model,
    counted.calls,
    counted.hits,
    counted.tokens_in + counted.tokens_out as tokens,
    counted.tokens_in,
    counted.tokens_out,
    counted.spent,
    coalesce(failed.failures, 0) as failures,
    coalesce(failed.failures_by_class, map()::map(varchar, bigint)) as failures_by_class
from counted
left join failed
    on
        failed.day = counted.day
        and failed.product = counted.product
        and failed."function" = counted."function"
        and failed.model = counted.model
