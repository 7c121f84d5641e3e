-- A mood that could not be told is no mood: it stands at a place of its own, and has no say in the figures of the day.
with moods as (
    select
        blog,
        day,
        ts,
        base_name,
        base_value,
        value,
        base_name <> 'unrestricted' as is_known
    from {{ source('lake', 'mood') }}
),

begun as (
    select
        blog,
        day,
        base_name,
        min(ts) as since
    from moods
    where is_known
    group by all
),

bases as (
    select
        blog,
        day,
        list(base_name order by since, base_name) as bases
    from begun
    group by all
),

days as (
    select
        blog,
        day,
        count(*) as points,
        count(*) filter (not is_known) as points_unknown,
        avg(base_value order by ts) filter (is_known) as mean_base,
        avg(value order by ts) filter (is_known) as mean_value,
        arg_min(value, ts) filter (is_known) as first_value,
        arg_max(value, ts) filter (is_known) as last_value,
        min(value) filter (is_known) as lowest_value,
        -- Of equal moments the first.
        arg_min(ts, (value, ts)) filter (is_known) as lowest_at,
        max(value) filter (is_known) as highest_value,
        arg_min(ts, (-value, ts)) filter (is_known) as highest_at
    from moods
    group by all
),

-- An input kicks when it is admitted, which may be days after it came in.
kicks as (
    select
        blog,
        (kick_ts at time zone 'UTC')::date as day,
        count(*) as kicks,
        sum(kick order by kick_ts, input_id) filter (kick > 0) as kicked_up,
        sum(kick order by kick_ts, input_id) filter (kick < 0) as kicked_down,
        arg_min(input_id, (-abs(kick), kick_ts, input_id)) as strongest_input_id,
        arg_min(kick, (-abs(kick), kick_ts, input_id)) as strongest_kick
    from {{ source('lake', 'mood_inputs') }}
    group by all
)

select
    days.blog,
    days.day,
    coalesce(bases.bases, []::varchar []) as bases,
    days.mean_base,
    days.mean_value,
    days.first_value,
    days.last_value,
    days.lowest_value,
    days.lowest_at,
    days.highest_value,
    days.highest_at,
    days.points,
    days.points_unknown,
    coalesce(kicks.kicks, 0) as kicks,
    coalesce(kicks.kicked_up, 0) as kicked_up,
    coalesce(kicks.kicked_down, 0) as kicked_down,
    kicks.strongest_input_id,
    kicks.strongest_kick
from days
left join bases using (blog, day)
left join kicks using (blog, day)
order by days.blog, days.day
