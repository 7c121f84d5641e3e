{% set side = [
    'mention_id', 'video_id', 'day', 'published_at', 'action', 'conviction', 'rationale_quote', 'deep_link'
] %}
with said as (
    select
        *,
        case
            when action = 'buy' then 1
            when action in ('sell', 'short', 'avoid') then -1
            when action in ('hold', 'watch') then 0
        end as direction,
        -- A video of which only the day is known counts as published at its end, as in the consensus.
        case when date_precision = 'second' then epoch_us(published_at) end as published_us,
        coalesce(published_us, epoch_us(day + interval '23:59:59')) as said_us
    from {{ ref('active_mentions') }}
),

paired as (
    select
        channel_id,
        symbol,
        direction,
        lag(direction) over said_before as before_direction,
        {% for column in side -%}
        lag({{ column }}) over said_before as before_{{ column }},
        {{ column }} as after_{{ column }}{{ "," if not loop.last }}
        {% endfor -%}
    from said
    where direction is not null
    window said_before as (
        partition by channel_id, symbol order by said_us, located_s nulls first, mention_id
    )
)

select
    channel_id,
    symbol,
    {% for column in side -%}
    before_{{ column }},
    {% endfor -%}
    {% for column in side -%}
    after_{{ column }},
    {% endfor -%}
    after_day - before_day as days_between
from paired
-- Older views are history rather than something that was changed.
where direction <> before_direction and days_between <= 180
order by after_day desc, channel_id, symbol, after_mention_id
