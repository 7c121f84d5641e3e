-- Free calls have two bounds a day, each of which may be met first: that of the tier and the part of it for memes.
{% set bounds = "('tier:openrouter-free', 'tier:openrouter-free/memes')" %}
with answered as (
    select
        day,
        model,
        count(*) filter (verdict = 'accepted') as ok,
        median(latency_ms) as median_latency_ms
    from {{ ref('counted_calls') }}
    where product = 'memes' and "function" = 'meme_describe' and was_sent
    group by all
),

-- Whoever made them, free calls of one scope share its bound.
sent as (
    select
        day,
        unnest(scope_names) as scope
    from {{ ref('counted_calls') }}
    where was_sent
),

used as (
    select
        day,
        scope,
        count(*) as calls
    from sent
    where scope in {{ bounds }}
    group by all
),

spared as (
    select
        caps.day,
        min(greatest(caps.cap_calls - coalesce(used.calls, 0), 0)) as quota_left
    from {{ source('lake', 'spend_caps') }} as caps
    left join used
        on used.day = caps.day and used.scope = caps.scope
    where caps.per = 'D' and caps.scope in {{ bounds }} and caps.cap_calls is not null
    group by all
)

select
    asked.day,
    asked.model,
    asked.calls as attempts,
    coalesce(answered.ok, 0) as ok,
    asked.failures,
    asked.failures_by_class,
    asked.hits,
    answered.median_latency_ms,
    spared.quota_left
from {{ ref('calls_by_function') }} as asked
left join answered
    on answered.day = asked.day and answered.model = asked.model
left join spared
    on spared.day = asked.day
where asked.product = 'memes' and asked."function" = 'meme_describe'
order by asked.day desc, asked.model
