-- Wilson's score interval: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
-- JASA 22 (1927) 209-212; two-sided 95 %.
{% set z = '1.959963984540054::double' %}
with counted as (
    select
        outcomes.channel_id,
        outcomes.horizon_sessions,
        count(*) filter (outcomes.status = 'ok') as n,
        count(*) filter (outcomes.status = 'pending') as pending,
        -- In a fixed order, so that the sum is the same to the last bit in every build.
        avg(outcomes.alpha order by outcomes.mention_id) filter (outcomes.status = 'ok') as mean_alpha,
        median(outcomes.alpha) filter (outcomes.status = 'ok') as median_alpha,
        count(*) filter (outcomes.status = 'ok' and outcomes.hit) as hits,
        min(outcomes.day) as first_pick_day,
        max(outcomes.day) as last_pick_day
    from {{ source('lake', 'pick_outcomes') }} as outcomes
    -- What became of a pick that no longer holds counts nowhere.
    semi join {{ ref('active_mentions') }} as mentions
        on
            mentions.channel_id = outcomes.channel_id
            and mentions.day = outcomes.day
            and mentions.mention_id = outcomes.mention_id
    where outcomes.status in ('ok', 'pending')
    group by all
),

rated as (
    select
        *,
        hits / nullif(n, 0) as hit_rate,
        {{ z }} * {{ z }} / nullif(n, 0) as spread,
        (hit_rate + spread / 2) / (1 + spread) as centre,
        sqrt(spread * (hit_rate * (1 - hit_rate) + spread / 4)) / (1 + spread) as half_width
    from counted
)

select
    channel_id,
    horizon_sessions,
    n,
    pending,
    mean_alpha,
    median_alpha,
    hits,
    hit_rate,
    -- greatest and least pass over nulls, which would make a bound of nothing.
    case when n > 0 then greatest(centre - half_width, 0.0::double) end as wilson_low,
    case when n > 0 then least(centre + half_width, 1.0::double) end as wilson_high,
    n >= 20 as reliable,
    -mean_alpha as inverse_mean_alpha,
    first_pick_day,
    last_pick_day
from rated
order by channel_id, horizon_sessions
