-- The end of an age and the first day of the next one.
{% set ages = [(1, '0-1 d'), (7, '1-7 d'), (30, '7-30 d'), (90, '30-90 d'), (365, '90-365 d')] %}
{% set us_per_day = 24 * 60 * 60 * 1000000 %}
with newest as (
    select
        posts.*,
        files.modified_ns // 1000 - epoch_us(posts.published_at) as age_us
    from {{ source('lake', 'tumblr_posts') }} as posts
    left join {{ source('lake', 'tumblr_files') }} as files using (source_file)
    -- A post that moved to another day is on both.
    qualify
        row_number() over (
            partition by posts.blog, posts.post_id order by files.modified_ns desc nulls last, posts.source_file desc
        ) = 1
),

-- A post from the queue has another id once it is out; the one it had is its genesis_id.
sent as (
    select
        blog,
        unnest(list_distinct([remote_id, genesis_id])) as post_id,
        kind
    from {{ source('lake', 'outbox') }}
),

delivered as (
    select
        blog,
        post_id,
        min(kind) as kind
    from sent
    where post_id is not null
    group by all
),

published as (
    select
        posts.blog,
        coalesce(
            by_id.kind,
            by_genesis.kind,
            case
                when posts.parent_post_id is not null then 'reblog'
                when coalesce(threads.has_ask, false) or posts.asking_blog is not null then 'answer'
                else 'original'
            end
        ) as kind,
        coalesce(by_id.kind, by_genesis.kind) is not null as from_outbox,
        posts.age_us,
        greatest(posts.note_count, 0) as notes
    from newest as posts
    left join {{ source('lake', 'threads') }} as threads
        on threads.blog = posts.blog and threads.day = posts.day and threads.post_id = posts.post_id
    left join delivered as by_id
        on by_id.blog = posts.blog and by_id.post_id = posts.post_id
    left join delivered as by_genesis
        on by_genesis.blog = posts.blog and by_genesis.post_id = posts.genesis_id
    where posts.status = 'ok' and posts.role = 'own' and posts.post_state = 'published'
),

aged as (
    select
        *,
        case
            when age_us is null then 'unknown'
            {%- for days, age in ages %}
            when age_us < {{ days * us_per_day }} then '{{ age }}'
            {%- endfor %}
            else '365 d or more'
        end as age
    from published
)

select
    blog,
    kind,
    from_outbox,
    age,
    count(*) as posts,
    sum(notes)::bigint as notes,
    sum(notes) / count(*) as mean_notes,
    median(notes) as median_notes,
    quantile_cont(notes, 0.9) as p90_notes,
    max(notes) as most_notes,
    count(*) filter (notes = 0) as without_notes
from aged
group by all
order by blog, kind, from_outbox, min(age_us)
