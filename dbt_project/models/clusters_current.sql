{% set key = ['site_id', 'sector', 'cluster_key'] %}
with members as (
    select * from {{ ref('keywords_current') }}
    where state = 'mapped'
),

sums as (
    select
        {{ key | join(', ') }},
        list(keyword_norm order by volume desc nulls last, keyword_norm) as keywords,
        count(*) as keywords_count,
        sum(volume)::bigint as volume,
        count(distinct day) as batches,
        min(day) as first_day,
        max(day) as last_day
    from members
    group by all
),

-- The intent of most searches; of equal ones the first of the alphabet.
intents as (
    select
        {{ key | join(', ') }},
        intent
    from members
    where intent is not null
    group by {{ key | join(', ') }}, intent
    qualify row_number() over (
        partition by {{ key | join(', ') }} order by sum(coalesce(volume, 0)) desc, intent
    ) = 1
),

-- Batches that still have a keyword here.
batches as (
    select clusters.*
    from {{ source('lake', 'keyword_clusters') }} as clusters
    semi join members
        on
            members.site_id = clusters.site_id
            and members.day = clusters.day
            and members.sector = clusters.sector
            and members.cluster_key = clusters.cluster_key
),

newest as (
    select *
    from batches
    qualify row_number() over (partition by {{ key | join(', ') }} order by day desc) = 1
),

pages as (
    select
        {{ key | join(', ') }},
        list_sort(list_distinct(flatten(list(mapped_pages)))) as mapped_pages
    from batches
    group by all
),

thought_of as (
    select
        {{ key | join(', ') }},
        count(*) as ideas
    from {{ ref('known_ideas') }}
    where state <> 'turned_down'
    group by all
)

select
    sums.site_id,
    sums.sector,
    sums.cluster_key,
    newest.name,
    newest.description,
    case when coalesce(thought_of.ideas, 0) > 0 then 'mapped' else 'new' end as state,
    coalesce(states.disabled, false) as disabled,
    intents.intent,
    newest.dimension,
    sums.keywords,
    sums.keywords_count,
    sums.volume,
    newest.avg_cosine,
    pages.mapped_pages,
    sums.batches,
    sums.first_day,
    sums.last_day
from sums
inner join newest using ({{ key | join(', ') }})
inner join pages using ({{ key | join(', ') }})
left join intents using ({{ key | join(', ') }})
left join thought_of using ({{ key | join(', ') }})
left join {{ ref('content_states') }} as states
    on
        states.object_type = 'cluster'
        and states.object_id = sums.site_id || '/' || sums.sector || '/' || sums.cluster_key
order by sums.site_id, sums.sector, sums.volume desc nulls last, sums.cluster_key
