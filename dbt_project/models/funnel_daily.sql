-- A table decides for a post if its row is not ok; what all let through has the state that meme_status folds.
with ended as (
    select
        posts.platform,
        posts.day,
        case
            when posts.status <> 'ok' then 'meme_posts'
            -- What curation makes wait has a state all the same.
            when memes.status is null or memes.status in ('rejected', 'failed') then 'memes'
            else 'meme_status'
        end as stage,
        case stage
            when 'meme_posts' then posts.status
            when 'memes' then memes.status
            else states.status
        end as status,
        case when stage = 'meme_status' then states.state end as state,
        case stage
            when 'meme_posts' then posts.reason
            when 'memes' then memes.reason
            else states.state_reason
        end as reason
    from {{ source('lake', 'meme_posts') }} as posts
    left join {{ source('lake', 'memes') }} as memes
        on
            memes.platform = posts.platform
            and memes.day = posts.day
            and memes.meme_id = posts.meme_id
    left join {{ source('lake', 'meme_status') }} as states
        on
            states.platform = posts.platform
            and states.day = posts.day
            and states.meme_id = posts.meme_id
),

counted as (
    select
        platform,
        day,
        stage,
        case stage when 'meme_posts' then 1 when 'memes' then 2 else 3 end::integer as position,
        status,
        state,
        reason,
        count(*) as posts
    from ended
    group by all
)

select
    day,
    platform,
    stage,
    position,
    status,
    state,
    coalesce(state = 'ok', false) as servable,
    reason,
    posts,
    -- Posts of all the rows of this stage and of later ones.
    sum(posts) over (partition by platform, day order by position desc)::bigint as reached
from counted
order by day desc, platform, position, posts desc, state nulls last, reason nulls last
