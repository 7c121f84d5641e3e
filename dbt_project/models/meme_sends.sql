-- Each meme that was sent, with what the person made of it and whether they went on. Copies of a meme count as one, as
-- in all statistics: a person's first reaction to any of them is the one that counts, and it answers the last send
-- before it. Of a like and a dislike in one microsecond the like is first.
{{ config(materialized='ephemeral') }}

with events as (
    select
        events.event_id,
        events.day,
        events.at,
        events.kind,
        events.user_id,
        events.meme_id,
        coalesce(known.canonical_id, events.meme_id) as canonical_id,
        coalesce(events.engine, '(none)') as engine,
        events.queue_id,
        max(events.at) over () as last_at
    from {{ source('lake', 'meme_reactions') }} as events
    left join {{ ref('known_memes') }} as known
        on known.meme_id = events.meme_id
    where events.status = 'ok' and events.meme_id is not null
),

sends as (
    select
        *,
        lead("at") over (partition by user_id order by "at", event_id) as next_at
    from events
    where kind = 'sent'
),

reactions as (
    select
        user_id,
        meme_id,
        "at",
        kind = 'like' as liked
    from events
    where kind in ('like', 'dislike')
    qualify row_number() over (partition by user_id, canonical_id order by "at", kind desc, event_id) = 1
),

answers as (
    select
        sends.event_id,
        reactions.liked
    from reactions
    inner join sends
        on
            sends.user_id = reactions.user_id
            and sends.meme_id = reactions.meme_id
            and sends.at <= reactions.at
    qualify row_number() over (
        partition by reactions.user_id, reactions.meme_id order by sends.at desc, sends.event_id
    ) = 1
)

select
    sends.day,
    sends.user_id,
    sends.meme_id,
    sends.engine,
    sends.queue_id,
    answers.liked,
    -- Of the last half hour nobody knows yet who goes on; to count only those who did would flatter.
    case
        when sends.at <= sends.last_at - interval '30 minutes'
            then coalesce(sends.next_at <= sends.at + interval '30 minutes', false)
    end as continued
from sends
left join answers
    on answers.event_id = sends.event_id
