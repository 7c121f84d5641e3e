{% set window_days = 7 %}
-- Fewer reactions of a person say more about chance than about an engine.
{% set least_reactions = 5 %}
with sends as (
    select * from {{ ref('meme_sends') }}
),

days as (
    select distinct day from sends
),

-- Each day beside the days that its window holds.
windows as (
    select
        days.day,
        earlier.day as sent_day
    from days
    inner join days as earlier
        on earlier.day between days.day - {{ window_days - 1 }} and days.day
),

counted as (
    select
        day,
        engine,
        count(*) as sends,
        count(liked) as reactions,
        count(*) filter (liked) as likes,
        count(continued) as sends_followed,
        count(*) filter (continued) as continued
    from sends
    group by all
),

rated as (
    select
        windows.day,
        counted.engine,
        sum(counted.sends)::bigint as sends,
        sum(counted.reactions)::bigint as reactions,
        sum(counted.likes)::bigint as likes,
        sum(counted.sends_followed)::bigint as sends_followed,
        sum(counted.continued)::bigint as continued
    from windows
    inner join counted
        on counted.day = windows.sent_day
    group by all
),

-- What each engine thought, when the queue was filled, of a meme that was then sent and reacted to: also engines that
-- offered it and were not drawn, so that engines are held against the same reactions.
scored as (
    select
        sends.day,
        sends.user_id,
        sends.liked,
        candidates.engine,
        candidates.score
    from sends
    inner join {{ source('lake', 'recommendation_queues') }} as queues
        on queues.queue_id = sends.queue_id and queues.user_id = sends.user_id
    inner join {{ source('lake', 'meme_candidates') }} as candidates
        on
            candidates.day = queues.day
            and candidates.user_id = queues.user_id
            and candidates.refill_no = queues.refill_no
            and candidates.meme_id = sends.meme_id
    where sends.liked is not null
),

people as (
    select
        windows.day,
        sends.user_id
    from windows
    inner join sends
        on sends.day = windows.sent_day
    group by all
    having count(sends.liked) >= {{ least_reactions }}
),

placed as (
    select
        windows.day,
        scored.engine,
        scored.user_id,
        scored.liked,
        count(*) filter (not scored.liked) over (
            partition by windows.day, scored.engine, scored.user_id order by scored.score
        ) as not_above,
        count(*) filter (not scored.liked) over (
            partition by windows.day, scored.engine, scored.user_id, scored.score
        ) as level
    from windows
    inner join scored
        on scored.day = windows.sent_day
    semi join people
        on people.day = windows.day and people.user_id = scored.user_id
),

-- A disliked meme below the liked one is a pair in order; one with the same score is half a pair.
by_person as (
    select
        day,
        engine,
        user_id,
        count(*) filter (liked) * count(*) filter (not liked) as pairs,
        sum(not_above - level / 2) filter (liked) as pairs_in_order
    from placed
    group by all
    having pairs > 0
),

paired as (
    select
        day,
        engine,
        count(*) as paired_users,
        sum(pairs)::bigint as pairs,
        sum(pairs_in_order) as pairs_in_order,
        -- In a fixed order, so that the mean is the same to the last bit in every build.
        avg(pairs_in_order / pairs order by user_id) as pairwise_accuracy
    from by_person
    group by all
)

select
    day,
    engine,
    coalesce(rated.sends, 0) as sends,
    coalesce(rated.reactions, 0) as reactions,
    coalesce(rated.likes, 0) as likes,
    rated.likes / nullif(rated.reactions, 0) as like_rate,
    coalesce(rated.sends_followed, 0) as sends_followed,
    rated.continued / nullif(rated.sends_followed, 0) as continuation_rate,
    coalesce(paired.paired_users, 0) as paired_users,
    coalesce(paired.pairs, 0) as pairs,
    coalesce(paired.pairs_in_order, 0.0::double) as pairs_in_order,
    paired.pairwise_accuracy
from rated
full join paired using (day, engine)
order by day desc, engine
