with scoped as (
    select
        day,
        unnest(scope_names) as scope,
        was_sent,
        is_hit,
        cost_usd,
        saved_usd
    from {{ ref('counted_calls') }}
),

counted as (
    select
        day,
        scope,
        count(*) filter (was_sent) as calls,
        count(*) filter (is_hit) as hits,
        sum(cost_usd) as spent,
        sum(saved_usd) as saved
    from scoped
    group by all
)

select
    counted.day,
    counted.scope,
    counted.calls,
    counted.hits,
    counted.spent::decimal(38, 9) as spent,
    counted.saved::decimal(38, 9) as saved,
    caps.cap_usd as cap,
    caps.cap_calls
from counted
left join {{ source('lake', 'spend_caps') }} as caps
    on caps.day = counted.day and caps.scope = counted.scope and caps.per = 'D'
order by counted.day, counted.scope
